if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", check);
else check();
