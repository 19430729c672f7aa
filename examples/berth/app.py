"""Berth: who lies where in a small harbour.

Run it with `PYTHONPATH=out/site python3 app.py` after `./build.sh`.
"""

import os
import pathlib
import subprocess

from flask import Flask, abort, redirect, render_template, request, send_from_directory

HERE = pathlib.Path(__file__).resolve().parent
OUT = pathlib.Path(os.environ.get("BERTH_OUT", HERE / "out")).resolve()
BERTHS = ("A1", "A2", "B1", "B2")


def water_height(low, high, hours):
    """What the tide program says, or None when it was not built."""
    tide = OUT / "bin" / "tide"
    if not tide.exists():
        return None
    done = subprocess.run([tide, low, high, hours], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return done.stdout.strip()


def create_app():
    """A harbour of its own, empty."""
    app = Flask(__name__)
    bookings = {}

    @app.get("/")
    def index():
        return render_template("index.html", berths=BERTHS, bookings=bookings)

    @app.post("/book")
    def book():
        berth, ship = request.form.get("berth"), request.form.get("ship", "").strip()
        if berth not in BERTHS or not 1 <= len(ship) <= 60:
            abort(400, "name a ship and a berth that is there")
        if berth in bookings:
            abort(409, f"{berth} is taken by {bookings[berth]}")
        bookings[berth] = ship
        return redirect("/")

    @app.get("/tide")
    def tide():
        args = request.args
        try:
            height = water_height(args.get("low", ""), args.get("high", ""), args.get("hours", ""))
        except ValueError as why:
            abort(400, str(why))
        return {"height": height}

    @app.get("/pages/<path:name>")
    def page(name):
        return send_from_directory(OUT / "dist", name)

    return app


if __name__ == "__main__":
    create_app().run(host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
