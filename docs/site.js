// What the theme leaves without a name, or out of reach of the keyboard; it adds parts of the page as they are needed.
function name_parts() {
  document.querySelectorAll(".md-search:not([aria-label])").forEach(part => part.setAttribute("aria-label", "Search"));
  document.querySelectorAll(".md-code__nav:not([aria-label])").forEach((part, number) =>
    part.setAttribute("aria-label", "Code, " + (part.parentElement.id || number)));
  document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex]), .md-typeset pre > code:not([tabindex])").forEach(
    part => part.setAttribute("tabindex", "0"));
}
new MutationObserver(name_parts).observe(document.documentElement, {childList: true, subtree: true});
document.addEventListener("DOMContentLoaded", name_parts);
