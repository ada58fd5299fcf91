// Themes, pictures and links. Runs last: a table can be used before a picture is drawn.
"use strict";

const root = document.documentElement;
const systemIsDark = window.matchMedia("(prefers-color-scheme: dark)");

// ---- theme

const theme = document.getElementById("theme");
theme.value = root.dataset.theme;
theme.form.hidden = false;
theme.addEventListener("change", () => {
  root.dataset.theme = storedTheme(theme.value);
  redraw();
});
systemIsDark.addEventListener("change", redraw);

function themeInUse() {
  return root.dataset.theme || (systemIsDark.matches ? "dark" : "light");
}

// ---- pictures: drawn when they come into view

const themes = JSON.parse(document.getElementById("themes").textContent);
const drawn = new Map();
const inView = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting && !drawn.has(target)) draw(target);
    }
  },
  { rootMargin: "400px" },
);

for (const figure of document.querySelectorAll("figure.picture")) {
  inView.observe(figure);
  const save = figure.querySelector(".save");
  save.hidden = false;
  for (const button of save.querySelectorAll("button")) {
    button.addEventListener("click", () => saveAs(figure, button.dataset.format));
  }
}

function specOf(figure) {
  return JSON.parse(figure.querySelector(".spec").textContent);
}

// Without eval: expressions are interpreted, which the page's policy demands.
function embed(element, spec, config) {
  const tooltip = { theme: themeInUse() };
  return window.vegaEmbed(element, spec, {
    actions: false, ast: true, renderer: "svg", config, tooltip,
  });
}

async function draw(figure) {
  drawn.get(figure)?.then((result) => result.finalize());
  const { title, ...untitled } = specOf(figure); // the page shows the title as text
  const config = { ...themes[themeInUse()], background: "transparent", padding: 2 };
  const live = figure.querySelector(".live");
  const description = live.getAttribute("aria-label"); // Vega would write another one there
  drawn.set(figure, embed(live, { ...untitled, description }, config));
  await drawn.get(figure);
  live.querySelector("svg").setAttribute("aria-hidden", "true");
}

function redraw() {
  for (const figure of drawn.keys()) draw(figure);
}

async function saveAs(figure, format) {
  const apart = document.createElement("div");
  const result = await embed(apart, specOf(figure), themes[themeInUse()]);
  const link = document.createElement("a");
  link.href = await result.view.toImageURL(format, 2);
  link.download = `${figure.querySelector(".spec").dataset.name}.${format}`;
  link.click();
  result.finalize();
}

// ---- links into a session open it

function openTarget() {
  document.querySelector(":target")?.closest("details")?.setAttribute("open", "");
}

window.addEventListener("hashchange", openTarget);
window.addEventListener("load", openTarget);
