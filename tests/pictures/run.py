#!/usr/bin/env python3
"""Looks at the page of `sipban stats --html` in Chromium: run.py BINARY [--write FOLDER]

With --write, also makes README's pictures: of that page, and of the demo's terminal.
"""

import html
import os
import re
import subprocess
import sys
import tempfile

import log
import mmdb
from chromium import Page

# Telephone, tablet, desk.
WIDTHS = [360, 768, 1400]

# Everything that reaches beyond the page and does not lie in something that can be moved.
OUTSIDE = """[...document.querySelectorAll('body *')].filter(e => !e.closest('section') &&
    e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5).map(e => e.outerHTML.slice(0, 80))"""

# Texts of drawings that leave their drawing, or lie on another one.
CLASHES = """[...document.querySelectorAll('svg')].flatMap(svg => {
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')].map(t => [t.textContent.trim(), t.getBoundingClientRect()]);
    const out = texts.filter(([, t]) => t.left < frame.left || t.right > frame.right || t.top < frame.top || t.bottom > frame.bottom);
    const over = texts.flatMap(([a, one], n) => texts.slice(n + 1).filter(([, two]) => one.left < two.right - 1 &&
        two.left < one.right - 1 && one.top < two.bottom - 4 && two.top < one.bottom - 4).map(([b]) => a + ' / ' + b));
    return out.map(([text]) => 'outside: ' + text).concat(over.map(pair => 'one on another: ' + pair));
})"""

# The least contrast of a text to what is behind it, as WCAG counts.
CONTRAST = """(() => {
    const parse = c => c.match(/[0-9.]+/g).map(Number);
    const light = c => c.slice(0, 3).map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, n) => sum + v * [0.2126, 0.7152, 0.0722][n], 0);
    const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
        if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
    return Math.min(...[...document.querySelectorAll('h1,h2,p,a,dt,dd,th,td,caption,svg text')].map(e => {
        const style = getComputedStyle(e);
        const [a, b] = [parse(e.tagName == 'text' ? style.fill : style.color), behind(e)].map(light).sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05);
    }));
})()"""

wrong = []


def check(text, ok, seen=""):
    print(f"{'ok' if ok else 'WRONG'}: {text}{'' if ok else f': {seen}'}")
    if not ok:
        wrong.append(text)


def look_at(page, folder):
    for width in WIDTHS:
        for scheme in ["light", "dark"]:
            page.look(width, scheme)
            where = f"{width} pixels, {scheme}"
            wide = page.ask("document.documentElement.scrollWidth")
            check(f"{where}: nothing is wider than the page", wide <= width, wide)
            for text, expression in [("nothing lies outside", OUTSIDE), ("labels have room", CLASHES)]:
                seen = page.ask(expression)
                check(f"{where}: {text}", seen == [], seen)
            contrast = page.ask(CONTRAST)
            check(f"{where}: every word can be read", contrast >= 4.5, contrast)
            page.picture(f"{folder}/{width}-{scheme}.png", height=2 * max(WIDTHS))
    told = page.names()
    headings = {name for role, name in told if role == "heading"}
    tables = [role for role, _ in told if role == "table"]
    check("a screen reader finds pictures' titles and their tables", len(tables) == 6 and len(headings) >= 9, told[:40])
    check("a screen reader is told what each picture shows", any("Most on" in name for _, name in told))
    paper = page.paper()
    check("it can be printed", paper.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", paper)) < 12)
    with open(f"{folder}/paper.pdf", "wb") as file:
        file.write(paper)


def terminal(text):
    """A page that looks as a terminal does."""
    style = "body{margin:0;background:#16181d;color:#d7dae0}pre{margin:0;padding:16px 20px;font:14px/1.4 'DejaVu Sans Mono',monospace}"
    return f"<!DOCTYPE html><meta charset=utf-8><style>{style}</style><pre>{html.escape(text)}</pre>"


def main():
    binary = os.path.abspath(sys.argv[1])
    folder = "target/pictures"
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        with open(f"{work}/sipban.log", "w") as file:
            file.writelines(log.lines())
        for name, content in [("country", mmdb.countries()), ("network", mmdb.operators())]:
            with open(f"{work}/{name}.mmdb", "wb") as file:
                file.write(content)
        with open(f"{work}/sipban.conf", "w") as file:
            file.write(f"[ami]\nuser = a\npass = b\n[geo]\ncountry = {work}/country.mmdb\nnetwork = {work}/network.mmdb\n")
        made = [binary, "-c", f"{work}/sipban.conf", "stats", "--html", f"{work}/page.html", f"{work}/sipban.log"]
        subprocess.run(made, check=True)
        with Page() as page:
            page.open(f"file://{work}/page.html")
            look_at(page, folder)
            check("the browser has nothing to complain of", page.complaints == [], page.complaints)
            check("nothing else is fetched", page.fetched == [f"file://{work}/page.html"], page.fetched)
            if "--write" in sys.argv:
                to = sys.argv[sys.argv.index("--write") + 1]
                os.makedirs(to, exist_ok=True)
                page.look(1120)
                page.picture(f"{to}/stats.png", height=1224)
                demo = subprocess.run(["tests/demo.sh", binary], check=True, stdout=subprocess.PIPE, text=True).stdout
                with open(f"{work}/demo.html", "w") as file:
                    file.write(terminal(demo))
                page.open(f"file://{work}/demo.html")
                page.look(1120, height=100)
                page.picture(f"{to}/demo.png")
    print(f"The pictures lie in {folder}.")
    sys.exit(1 if wrong else 0)


main()
