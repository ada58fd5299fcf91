// The table of all cells: sorted, filtered, copied. Texts of records are only ever set as text.
"use strict";

for (const section of document.querySelectorAll(".all-cells")) enhance(section);

function enhance(section) {
  const controls = section.querySelector(".controls");
  const region = section.querySelector(".scroll");
  const table = window.$(section.querySelector("table.cells")).DataTable({
    autoWidth: false,
    order: [],
    pageLength: 25,
    lengthMenu: [25, 100, { label: "all", value: -1 }],
    layout: {
      top2: () => controls,
      topStart: "search",
      topEnd: "pageLength",
      bottomStart: "info",
      bottomEnd: "paging",
    },
    language: {
      search: "Search",
      lengthMenu: "_MENU_ rows",
      info: "_START_ to _END_ of _TOTAL_ cells",
      infoEmpty: "no cell",
      infoFiltered: "(of _MAX_)",
      zeroRecords: "No cell fits the search and the filters.",
    },
  });
  // The controls stay in place; only the table scrolls sideways.
  const scrolled = section.querySelector(".dt-layout-table");
  for (const name of ["role", "tabindex", "aria-label", "class"]) {
    scrolled.setAttribute(name, `${scrolled.getAttribute(name) ?? ""} ${region.getAttribute(name)}`.trim());
    region.removeAttribute(name);
  }
  controls.hidden = false;
  controls.addEventListener("submit", (event) => event.preventDefault());
  addFilters(controls, table);
  addColumnChoice(controls.querySelector("fieldset"), table);
  addCopying(controls, section, table);
}

function addFilters(controls, table) {
  for (const select of controls.querySelectorAll("select")) {
    select.addEventListener("change", () => {
      const column = table.column(Number(select.dataset.column));
      column.search(select.value, { exact: select.value !== "" }).draw();
    });
  }
}

function addColumnChoice(fieldset, table) {
  for (const index of table.columns().indexes().toArray()) {
    const column = table.column(index);
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = column.visible();
    box.disabled = index === 0; // it names the row
    box.addEventListener("change", () => column.visible(box.checked));
    const label = document.createElement("label");
    label.append(box, ` ${column.title()}`);
    fieldset.append(label);
  }
}

// ---- copying: the rows that pass the filters, in their order, and the columns that are shown

function addCopying(controls, section, table) {
  const status = controls.querySelector("[role=status]");
  for (const button of controls.querySelectorAll(".copy button")) {
    button.addEventListener("click", async () => {
      const rows = table.rows({ search: "applied", order: "applied" }).nodes().toArray();
      const text = asText[button.dataset.format](headerOf(table), rows, termsOf(section));
      const copied = await toClipboard(text);
      status.textContent = copied ? `${rows.length} rows copied` : "";
      if (!copied) showForCopying(controls, text);
    });
  }
}

function headerOf(table) {
  return table.columns(":visible").titles().toArray();
}

function termsOf(section) {
  return [...section.querySelectorAll(".terms li")].map((term) => term.textContent);
}

const asText = {
  markdown(header, rows, terms) {
    const line = (texts) => `| ${texts.map(escaped).join(" | ")} |`;
    const first = rows[0] ?? { cells: [] };
    const rules = header.map((_, i) => (first.cells[i]?.hasAttribute("data-order") ? "---:" : "---"));
    const body = rows.map((row) => line([...row.cells].map((cell) => cell.textContent)));
    return [line(header), `| ${rules.join(" | ")} |`, ...body, "", terms.map(escaped).join("; "), ""].join("\n");
  },
  csv(header, rows, terms) {
    const line = (texts) => texts.map(quoted).join(",");
    const body = rows.map((row) => line([...row.cells].map((cell) => cell.dataset.order ?? cell.textContent)));
    return [line(header), ...body, ...terms.map((term) => line([`# ${term}`])), ""].join("\r\n");
  },
};

function escaped(text) {
  return text.replace(/[\\|`*_[\]]/g, "\\$&").replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

// A spreadsheet runs what begins like a formula, unless an apostrophe says that it is text.
function quoted(text) {
  const number = /^-?(\d[\d,]*)?(\.\d+)?(e[+-]?\d+)?$/;
  const formula = /^[=+\-@\t\r]/.test(text) && !number.test(text);
  const inert = formula ? `'${text}` : text;
  return /[",\r\n]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
}

async function toClipboard(text) {
  if (!navigator.clipboard) return false; // as on a host without https
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch (error) {
    if (!(error instanceof DOMException)) throw error; // not allowed here
    return false;
  }
}

function showForCopying(controls, text) {
  const area = controls.querySelector("textarea") ?? document.createElement("textarea");
  area.readOnly = true;
  area.rows = 8;
  area.value = text;
  area.setAttribute("aria-label", "This browser allows no copying from here: copy this text");
  controls.append(area);
  area.focus();
  area.select();
}
