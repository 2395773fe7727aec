// Keeps a page that is open as the server would show it now, says what changed, and shows times in
// the reader's zone. Without it the page is complete, and shows what was when it was loaded.
"use strict";
(() => {
  const MOST_SECONDS = 60;
  const status = document.getElementById("zj-said");
  const away = document.getElementById("zj-away");
  let etag = null;
  let failures = 0;
  let timer = null;
  let asking = false;

  // Times

  const zoned = (root) => {
    const lang = document.documentElement.lang;
    const own = navigator.languages.find((each) => each.split("-")[0] === lang);
    const format = new Intl.DateTimeFormat(own || lang, {
      dateStyle: "medium",
      timeStyle: "short",
    });
    for (const time of root.querySelectorAll("time[datetime]")) {
      const moment = new Date(time.dateTime);
      if (!Number.isNaN(moment.getTime())) time.textContent = format.format(moment);
    }
  };

  // Changes: what is the same stays, so that focus, selection and what is open are kept.

  const isSame = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && a.id === b.id;

  // The old node that `wanted` is to be made of, from `here` on; text only of the next one.
  const match = (here, wanted) => {
    if (wanted.nodeType !== Node.ELEMENT_NODE) return here && isSame(here, wanted) ? here : null;
    let found = here;
    while (found && !(isSame(found, wanted) && (wanted.id || found.className === wanted.className))) {
      found = found.nextSibling;
    }
    return found || (here && isSame(here, wanted) ? here : null);
  };

  const takeAttributes = (old, fresh) => {
    for (const { name } of [...old.attributes]) {
      const isOpen = old.nodeName === "DETAILS" && name === "open";
      if (!fresh.hasAttribute(name) && !isOpen) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  };

  const become = (old, fresh) => {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    if (old.hasAttribute("data-still")) return;
    takeAttributes(old, fresh);
    let here = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const found = match(here, wanted);
      if (found) {
        while (here !== found) {
          const passed = here;
          here = here.nextSibling;
          // One that comes later in the new page is moved, not dropped.
          if (passed.id && fresh.querySelector(`:scope > #${CSS.escape(passed.id)}`)) old.append(passed);
          else passed.remove();
        }
        become(found, wanted);
        here = found.nextSibling;
      } else {
        old.insertBefore(wanted, here);
      }
    }
    while (here) {
      const next = here.nextSibling;
      here.remove();
      here = next;
    }
  };

  // Whether the reader does something that a change would disturb.

  const isBusy = (main) => {
    const chosen = document.getSelection();
    if (chosen && !chosen.isCollapsed && main.contains(chosen.anchorNode)) return true;
    const field = document.activeElement;
    if (field && main.contains(field) && field.matches("input:not([type=checkbox],[type=radio]),select,textarea")) return true;
    return [...main.querySelectorAll("input,select,textarea")].some((each) => {
      if (each.closest("[data-still]")) return false;
      if (each.matches("[type=checkbox],[type=radio]")) return each.checked !== each.defaultChecked;
      if (each.matches("select")) return [...each.options].some((o) => o.selected !== o.defaultSelected);
      return each.type !== "hidden" && each.value !== each.defaultValue;
    });
  };

  // Asking

  const main = () => document.getElementById("zj-main");

  const tell = (text) => {
    away.textContent = text || "";
    away.hidden = !text;
  };

  const show = (fresh) => {
    const old = main();
    const said = old.dataset.say;
    zoned(fresh);
    become(old, fresh);
    if (old.dataset.title) document.title = old.dataset.title;
    if (old.dataset.say && old.dataset.say !== said) status.textContent = old.dataset.say;
  };

  const stop = () => {
    delete main().dataset.live;
    tell(away.dataset.gone);
  };

  const ask = async () => {
    const url = new URL(location.href);
    url.hash = "";
    url.searchParams.delete("done");
    url.searchParams.set("live", "1");
    const headers = etag ? { "If-None-Match": etag } : {};
    const answer = await fetch(url, {
      headers,
      cache: "no-store",
      credentials: "same-origin",
      redirect: "manual",
      signal: AbortSignal.timeout(20000),
    });
    if (answer.status === 304) return;
    if (answer.type === "opaqueredirect" || (answer.status >= 400 && answer.status < 500)) return stop();
    if (!answer.ok) throw new Error(answer.statusText);
    const text = await answer.text();
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("zj-main");
    if (!fresh) return stop();
    if (isBusy(main()) || document.hidden) return; // it is asked for again
    etag = answer.headers.get("ETag");
    show(fresh);
  };

  const next = () => {
    clearTimeout(timer);
    const seconds = Number(main().dataset.live);
    if (!seconds || document.hidden) return;
    const wait = failures ? Math.min(MOST_SECONDS, Math.max(2, seconds) * 2 ** failures) : seconds;
    timer = setTimeout(turn, wait * 1000);
  };

  const turn = async () => {
    if (asking || document.hidden) return;
    if (!isBusy(main())) {
      asking = true;
      try {
        await ask();
        if (failures && main().dataset.live) tell(null);
        failures = 0;
      } catch {
        failures += 1;
        tell(away.dataset.away);
      }
      asking = false;
    }
    next();
  };

  zoned(document);
  for (const each of document.querySelectorAll(".zj-without,.zj-with")) each.hidden = each.className === "zj-without";
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : turn()));
  // The notice of a deed is told once, not by each reload.
  const here = new URL(location.href);
  if (here.searchParams.has("done")) {
    here.searchParams.delete("done");
    history.replaceState(null, "", here);
  }
  next();
})();
