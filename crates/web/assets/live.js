// Follows a running job's log. Without this script the page refreshes itself instead.
"use strict";
(() => {
  const log = document.getElementById("log");
  if (!log || !log.dataset.follow || !window.EventSource) return;
  let held = "", bold = false, colour = null;

  // The same as web/src/log.rs: colours become spans, other control sequences go away.
  const paint = (codes) => {
    for (const code of codes.split(";").map(Number)) {
      if (code === 1) bold = true;
      else if (code === 22) bold = false;
      else if (code === 39) colour = null;
      else if (code >= 30 && code <= 37) colour = code - 30;
      else if (code >= 90 && code <= 97) colour = code - 82;
      else if (code === 38 || code === 48) return;
      else if (!code) { bold = false; colour = null; }
    }
  };
  const add = (text) => {
    text = text.replace(/[\x00-\x08\x0b-\x1f\x7f]/g, "");
    if (!text) return;
    if (!bold && colour === null) return log.append(text);
    const span = document.createElement("span");
    span.className = (bold ? "b " : "") + (colour === null ? "" : "c" + colour);
    span.textContent = text;
    log.append(span);
  };
  const show = (piece) => {
    let text = held + piece;
    // What may go on in the next piece waits for it: an escape sequence, a marker, a line end.
    const cut = text.search(/(?:\x1b(?:\[[0-?]*[ -\/]*|\][^\x07\\]*)?|section_(?:start|end):[^\r\n\x1b]*|\r)$/);
    held = cut < 0 ? "" : text.slice(cut);
    if (cut >= 0) text = text.slice(0, cut);
    text = text.replace(/section_(?:start|end):\d+:[^\r\n\x1b]*\r?/g, "")
      .replace(/\r\n/g, "\n").replace(/[^\n\r]+\r(?=[^\n])/g, "");
    const low = innerHeight + scrollY >= document.body.offsetHeight - 80;
    const inside = log.scrollTop + log.clientHeight >= log.scrollHeight - 40;
    for (const part of text.split(/(\x1b(?:\[[0-?]*[ -\/]*[@-~]|\][^\x07\\]*[\x07\\]|[^\[\]]))/)) {
      if (!part.startsWith("\x1b")) add(part);
      else if (/^\x1b\[[\d;]*m$/.test(part)) paint(part.slice(2, -1));
    }
    if (inside) log.scrollTop = log.scrollHeight;
    if (low) scrollTo(0, document.body.scrollHeight);
  };

  log.scrollTop = log.scrollHeight;
  const events = new EventSource(log.dataset.follow);
  events.addEventListener("log", (event) => show(JSON.parse(event.data)));
  // The page itself knows the job's end: state, artifacts, provenance.
  events.addEventListener("end", () => { events.close(); location.reload(); });
  // A lost connection would begin again at the old offset, so the whole page is asked for again.
  events.onerror = () => { events.close(); setTimeout(() => location.reload(), 5000); };
})();
