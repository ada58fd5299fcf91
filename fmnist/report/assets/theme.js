// Runs before anything is painted: a reader who chose a theme never sees the other one flash up.
"use strict";

// A browser that keeps nothing for files or for anyone says so by a DOMException.
function storedTheme(chosen) {
  try {
    if (chosen !== undefined) window.localStorage.setItem("fmnist-theme", chosen);
    return window.localStorage.getItem("fmnist-theme") ?? "";
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    return chosen ?? "";
  }
}

document.documentElement.dataset.theme = storedTheme();

// A large table is laid out once, when the scripts have cut it into pages, and not before that too.
document.documentElement.classList.add("loading");
document.addEventListener("DOMContentLoaded", () => {
  document.documentElement.classList.remove("loading");
});
