"""Two metrics, a defence and an attack that scoreguard finds by entry points."""
