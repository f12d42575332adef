// Owns the few shortcuts to the document. Nothing here takes markup: text stays text.

export const byId = (id) => document.getElementById(id);

export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) node.setAttribute(attribute, value);
  node.append(...children);
  return node;
}

export const jsonOf = (id) => JSON.parse(byId(id).textContent);

/** As the pages' own filter `tel` does it for an emergency number: an extension is dialled after a pause. */
export function dial(number) {
  const [main, extension = ""] = number.split(/\s*(?:extension|ext\.?|x)\s*(?=\d)/i);
  const digits = extension.replace(/\D/g, "");
  return `tel:${main.replace(/[^\d+*#]/g, "")}` + (digits && `;ext=${digits}`);
}

export function fill(sentence, values) {
  return sentence.replace(/\{(\w+)\}/g, (whole, name) => (Object.hasOwn(values, name) ? values[name] : whole));
}
