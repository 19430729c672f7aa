#!/usr/bin/env python3
"""Verifies Cofferdam transfers (CT1, version 1). Written from transfer-v1.md, for Python 3.11 and its standard
library; runs `openssl` for signatures and, with --identity, `age` and `zstd` to look inside a sealed transfer.
  verify.py --key cofferdam-ed25519:… [--key …] [--threshold N] [--site NAME] [--identity AGE-KEY-FILE] FOLDER…
  verify.py … --batch        one folder a line on standard input

Several folders are the media of one transfer. Root documents are hashed like every file, not followed; recipes
are not executed. One line for each transfer says why; exit code 0: verified, 3: refused, 2: wrong usage."""
import argparse, base64, calendar, decimal, functools, hashlib, itertools, json, math, os, pathlib, re, subprocess, sys, tempfile

MIB = 1 << 20
def need(holds, why):
    if not holds:
        raise ValueError(why)

# Canonical JSON, and the shapes of what is in it
def double(v):
    sign, digits, exponent = decimal.Decimal(repr(v)).normalize().as_tuple()
    d, p = "".join(map(str, digits)), len(digits) + exponent if v else 0
    if not -5 < p <= 16:
        return f"{'-' * sign}{d[0]}{'.' * (len(d) > 1)}{d[1:]}e{p - 1:+}"
    return "-" * sign + (d[:p].ljust(p, "0") if p > 0 else "0") + "." + ("0" * -p + d[max(p, 0):] or "0")
def spell(v, depth=1):
    need(depth <= 127 or not isinstance(v, (dict, list)), "JSON is nested too deep")
    if isinstance(v, list):
        return "[" + ",".join(spell(x, depth + 1) for x in v) + "]"
    if isinstance(v, dict):
        return "{" + ",".join(spell(k) + ":" + spell(x, depth + 1) for k, x in v.items()) + "}"
    need(math.isfinite(v) if type(v) is float else type(v) is not int or -2**63 <= v < 2**64, "a number is too large")
    return double(v) if type(v) is float else json.dumps(v, ensure_ascii=False)
def parse(raw):
    v = json.loads(raw.decode(), parse_constant=lambda c: need(False, "not a number"))
    need(spell(v) == raw.decode(), "JSON is not in its canonical spelling")
    return v

def recipient(v):  # The 32 bytes of an age recipient, or None (Bech32, BIP 173)
    values, check = ["qpzry9x8gf2tvdw0s3jn54khce6mua7l".find(c) for c in v[4:]], 1
    for x in [3, 3, 3, 0, 1, 7, 5] + values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ x
        for i, g in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= g if top >> i & 1 else 0
    bits = functools.reduce(lambda n, x: n << 5 | x, values[:-6], 0)
    good = v[:4] == "age1" and len(v) == 62 and -1 not in values and check == 1 and bits & 15 == 0
    return (bits >> 4).to_bytes(32, "big") if good else None
def time(v):
    m = text(v) and re.fullmatch(r"([0-9]{4})-(0[1-9]|1[0-2])-([0-9]{2})T([01][0-9]|2[0-3])(:[0-5][0-9]){2}\.[0-9]{3}Z", v)
    return m and 1 <= int(m[3]) <= calendar.monthrange(int(m[1]), int(m[2]))[1]
def shape(**members):
    return lambda v: type(v) is dict and list(v) == list(members) and all(members[k](v[k]) for k in members)
text = lambda v: type(v) is str
u32, u64 = (lambda v, end=2**bits: type(v) is int and 0 <= v < end for bits in (32, 64))
sha = lambda v: text(v) and bool(re.fullmatch("[0-9a-f]{64}", v))
site = lambda v: text(v) and len(v) <= 64 and bool(re.fullmatch(r"[a-z0-9][a-z0-9._-]*(?<!\.git)(?<!\.)", v))
free = lambda v: True
maybe = lambda test: lambda v: v is None or test(v)
many = lambda test: lambda v: type(v) is list and all(map(test, v))
mapping = lambda test: lambda v: type(v) is dict and all(map(test, v.values())) and list(v) == sorted(v)
one_of = lambda *values: lambda v: type(v) is type(values[0]) and v in values
ENVELOPE = shape(payloadType=text, payload=text, signatures=many(shape(keyid=text, sig=text)))
HEADER = shape(
    formatVersion=one_of(1), suite=one_of("sealed-1", "inspectable-1"), stream=text, source=site, destinations=many(site),
    epoch=u32, seq=u64, prev=maybe(sha), created=time, notAfter=time, recipients=many(lambda v: text(v) and recipient(v)),
    files=many(shape(name=text, size=u64, sha256=sha)), manifest=shape(plainSha256=sha, plainSize=u64),
    payload=shape(size=u64, volumeSize=u64, packs=u64), parity=maybe(shape(slice=u32, dataLen=u64, groups=u64, parityPerGroup=u32)),
    items=maybe(shape(root=sha, count=u64, bytes=u64)), base=maybe(shape(root=sha, count=u64)), receipt=maybe(sha),
    totals=shape(blobs=u64, expandedBytes=u64, rebuilt=u64, rebuiltBytes=u64), tool=text, claims=mapping(sha))
PAYLOAD = shape(_type=one_of("https://in-toto.io/Statement/v1"), subject=many(shape(name=text, digest=shape(sha256=sha))),
                predicateType=one_of("https://cofferdam.dev/transfer/v1"), predicate=HEADER)
LINES = {
    "repository": (1, dict(name=text, format=text, role=text)), "artifact": (1, dict(value=free, blobs=many(sha))),
    "git": (1, dict(project=text, refs=mapping(text), bundle=sha)), "statement": (1, dict(envelope=ENVELOPE)),
    "requires": (2, dict(sha256=sha, size=u64)), "pack": (4, dict(offset=u64, len=u64, raw=u64)),
    "recipe": (3, dict(sha256=sha, size=u64, base=sha, payload=sha, recipe=free)),
    "blob": (4, dict(sha256=sha, size=u64)), "file": (4, dict(name=text, sha256=sha, size=u64))}

# Signatures
def unbase64(v):
    raw = base64.b64decode(v, validate=True)
    need(base64.b64encode(raw).decode() == v, "base64 is not canonical")
    return raw

@functools.lru_cache(4096)
def holds(der, message, signature):
    with tempfile.TemporaryDirectory() as home:
        for name, raw in zip("kms", (der, message, signature)):
            pathlib.Path(home, name).write_bytes(raw)
        command = "openssl pkeyutl -verify -pubin -keyform DER -inkey k -rawin -in m -sigfile s"
        return subprocess.run(command.split(), cwd=home, capture_output=True).returncode == 0
def believe(env, keys, threshold):
    known = {hashlib.sha256(der).hexdigest(): der for der in keys}
    need(1 <= threshold <= len(known), "the threshold proves nothing or cannot be reached")
    payload, kind, found = unbase64(env["payload"]), env["payloadType"].encode(), set()
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    for entry in env["signatures"]:
        signature, der = unbase64(entry["sig"]), known.get(entry["keyid"])
        need(not der or holds(der, message, signature), "a signature does not hold")
        found |= {entry["keyid"]} & set(known)
    need(len(found) >= threshold, f"{len(found)} of {threshold} needed signatures by distinct trusted keys are there")
    return payload

# The folder and its header
NUMBER = r"(?!0+\b)([0-9]{6}|[1-9][0-9]{6,8})"
NAME = re.compile(rf"""(?x) (?P<volume>v{NUMBER}\.ctv) | (?P<parity>p{NUMBER}\.ctp) | (?P<patch>r{NUMBER}\.ctr)
    | (?P<root>root\.[1-9][0-9]{{0,8}}\.dsse\.json) | (?P<station>station-[0-9a-f]{{16}}\.dsse\.json) | (?P<readme>README\.txt)
    | (?P<header>header\.dsse\.json) | (?P<manifest>manifest\.jsonl(\.zst\.age)?) | (?P<checks>checks\.ctk) | (?P<files>files)""")
kind_of = lambda name: (match := NAME.fullmatch(name)) and match.lastgroup

def listing(folders):
    name, there = os.path.basename(folders[0]), {}
    need(re.fullmatch(r"CT1-[a-z0-9._+-]+", name) and len(name) <= 240, "the folder's name is not that of a transfer")
    for folder in folders:
        need(os.path.basename(folder) == name and not os.path.islink(folder), "these are two transfers, or a link")
        for entry in os.scandir(folder):
            kind = kind_of(entry.name)
            good = entry.is_dir(follow_symlinks=False) if kind == "files" else entry.is_file(follow_symlinks=False)
            need(kind and good, f"{entry.name!r} has no place in a transfer")
            there.setdefault(entry.name, []).append(entry.path)
    return name, there
def geometry(g):
    size, data, groups, each = g.values()
    need(4096 <= size <= 262144 and size & size - 1 == 0 and data <= min(1 << 44, size << 26), "parity: impossible slices")
    slices = -(-data // size)
    if groups or each:
        rows = -(-slices // groups) if groups else 0
        good = each and groups <= slices and 1 <= rows <= 4064 and (groups == 1 or rows >= 16)
        need(good and each <= min(32, rows + 1), "parity: impossible groups")
    return 8 + 16 * (slices + groups * each), groups * each * size

def check_header(h, folder):
    sealed, payload, sites, each = h["suite"] == "sealed-1", h["payload"], h["destinations"], h["payload"]["volumeSize"]
    stream = "+".join([h["source"]] + sites)
    need(1 <= len(sites) <= 16 and sites == sorted(set(sites)) and h["stream"] == stream and len(stream) <= 204, "a site is wrong")
    need(h["seq"] > 0 and h["created"] <= h["notAfter"], "position or dates are wrong")
    need(folder == f"CT1-{stream}-{h['epoch']}-{h['seq']:06}", "the folder has another transfer's name")
    keys = [recipient(r) for r in h["recipients"]]
    need(keys == sorted(set(keys)) and (1 <= len(keys) <= 16 if sealed else not keys), "the recipients are wrong")
    flat = payload["size"] == payload["packs"] == 0 and not h["parity"] and h["items"]
    need(not h["items"] if sealed else flat, "items and payload do not belong to the suite")
    need(65536 <= each <= 1 << 44 and payload["packs"] <= 8_000_000, "volume size or packs are wrong")
    checks, spare = geometry(h["parity"]) if h["parity"] else (0, 0)
    need(max(payload["size"], spare) <= 50_000 * each, "there are too many volumes")
    cut = lambda name, size: [(name % (at // each + 1), min(each, size - at)) for at in range(0, size, each)]
    roots = [f["name"] for f in h["files"] if kind_of(f["name"]) == "root"]
    need(roots == sorted(set(roots), key=lambda n: int(n.split(".")[1])) and len(roots) <= 64, "the roots are out of order")
    manifest = "manifest.jsonl.zst.age" if sealed else "manifest.jsonl"
    expected = [(n, None) for n in ["README.txt"] + roots + [manifest]] + cut("v%06d.ctv", payload["size"])
    expected += [("checks.ctk", checks)] + cut("p%06d.ctp", spare) if h["parity"] else []
    fits = [f["name"] == n and size in (None, f["size"]) for f, (n, size) in zip(h["files"], expected)]
    need(all(fits) and len(expected) == len(h["files"]), "the list of files is wrong")
    sizes = {f["name"]: f["size"] for f in h["files"]}
    need(not h["parity"] or h["parity"]["dataLen"] == sizes[manifest] + payload["size"], "parity is over other bytes")
    need(max(sizes[manifest], h["manifest"]["plainSize"]) <= 4 << 30 and sizes["README.txt"] <= 65536, "a file is too long")
    return manifest

def digest(path, size):
    need(os.path.isfile(path) and not os.path.islink(path), f"{path} is not a regular file")
    with open(path, "rb") as file:
        return os.path.getsize(path) == size and hashlib.file_digest(file, "sha256").hexdigest()
def check_files(h, there, manifest):
    whole = {}
    for name, size, sha256 in map(dict.values, h["files"]):
        good = [path for path in there.get(name, []) if digest(path, size) == sha256]
        need(good or name not in there, f"{name}: its bytes are not those that were signed")
        whole |= {name: good[0]} if good else {}
    lost = [f["name"] for f in h["files"] if f["name"] not in whole and kind_of(f["name"]) in ("manifest", "volume")]
    need(not lost, f"{', '.join(lost)}: missing")
    return whole

# What is inside
@functools.lru_cache(4)
def opened(raw, identity, limit):
    age = subprocess.run(["age", "-d", "-i", identity], input=raw, capture_output=True)
    need(age.returncode == 0, "age does not open it")
    with tempfile.TemporaryFile() as packed:
        packed.write(age.stdout), packed.seek(0)
        command = ["zstd", "-d", "-c", "-q", "--memory=8388608"]
        with subprocess.Popen(command, stdin=packed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as zstd:
            out, _ = zstd.stdout.read(limit + 1), zstd.stdout.close()
    need(zstd.returncode == 0 and len(out) <= limit, "zstd does not unpack it, or to more than was declared")
    return out
def merkle(leaves):
    if len(leaves) < 2:
        return hashlib.sha256(b"\0" + leaves[0] if leaves else b"").digest()
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + merkle(leaves[:k]) + merkle(leaves[k:])).digest()
def flat_name(name):
    devices = r"autorun\.inf|desktop\.ini|thumbs\.db|(con|prn|aux|nul|com|lpt)[^.]?(\..*)?"
    return re.fullmatch(r"[A-Za-z0-9_+@][A-Za-z0-9._+@-]{0,199}(?<!\.)", name) and not re.fullmatch(devices, name.lower())

def read_manifest(raw, h):
    plain = {"plainSha256": hashlib.sha256(raw).hexdigest(), "plainSize": len(raw)}
    need(plain == h["manifest"] and raw[-1:] in (b"", b"\n"), "the manifest's lines are not those that were signed")
    stage, end, once, named, groups, by = 1, 0, [], [], [], {k: [] for k in LINES}
    for line in raw.split(b"\n")[:-1]:
        v = parse(line)
        kind = v.get("kind") if type(v) is dict else None
        need(text(kind) and kind in LINES and len(line) < 16 * MIB and shape(kind=text, **LINES[kind][1])(v), "a line is wrong")
        need(LINES[kind][0] >= stage, "the lines are out of order")
        stage, last = LINES[kind][0], by[kind][-1] if by[kind] else None
        by[kind].append(v)
        if stage == 1:
            once.append((kind, v["name" if kind == "repository" else "project"]) if kind in ("repository", "git") else line)
            named += v.get("blobs", []) + ([v["bundle"]] if kind == "git" else [])
        elif kind in ("requires", "recipe"):
            need(not last or last["sha256"] < v["sha256"], f"the {kind} lines are out of order")
        elif kind == "pack":
            need(v["offset"] == end and 0 < v["len"] <= 9 * MIB and v["raw"] <= 8 * MIB, "a pack is out of place")
            groups += [([], [])] if not groups or groups[-1][1] else []
            need(not groups[-1][0] or last["raw"] == 8 * MIB and v["raw"] > 0, "a pack cannot continue the one before it")
            groups[-1][0].append(v)
            end += v["len"]
        elif kind == "blob":
            need(groups, "a blob comes before any pack")
            groups[-1][1].append(v)
        else:
            need(flat_name(v["name"]) and (not last or last["name"] < v["name"]), "a flat file's name is wrong")
            once.append(("file", v["name"].lower()))
    need(len(set(once)) == len(once), "something is described twice")
    size = lambda found, member="size": sum(v[member] for v in found)
    for packs, blobs in groups:
        need(blobs and size(packs, "raw") == size(blobs) and (len(packs) == 1 or len(blobs) == 1), "blobs do not fill their packs")
    carried, rebuilt = by["blob"] + by["file"], by["recipe"]
    listed = [v["sha256"] for v in carried + rebuilt + by["requires"]]
    need(len(set(listed)) == len(listed) <= 10_000_000, "a blob is listed twice")
    need(set(listed) == set(named + [v[k] for v in rebuilt for k in ("base", "payload")]), "the transfer is not closed")
    ids, of = lambda found: {v["sha256"] for v in found}, lambda member: {v[member] for v in rebuilt}
    need(of("base") <= ids(by["requires"]) and of("payload") <= ids(carried), "a recipe reads what is not there")
    totals = dict(blobs=len(carried), expandedBytes=size(carried), rebuilt=len(rebuilt), rebuiltBytes=size(rebuilt))
    need(totals == h["totals"] and (end, len(by["pack"])) == (h["payload"]["size"], h["payload"]["packs"]), "totals differ")
    root = lambda kind: {"root": merkle([spell(v).encode() for v in by[kind]]).hex(), "count": len(by[kind])}
    base, items = root("requires") if by["requires"] else None, dict(root("file"), bytes=size(by["file"]))
    items = items if h["suite"] == "inspectable-1" else None
    need(base == h["base"] and items == h["items"] and (items or not by["file"]), "a Merkle root differs")
    return groups, by["file"]
def at_the_door(there, flat):
    entries = list(itertools.chain(*map(os.scandir, there.get("files", []))))
    need(all(entry.is_file(follow_symlinks=False) for entry in entries), "files/ holds what is not a regular file")
    found = {entry.name: entry.path for entry in reversed(entries)}
    need(set(found) <= {v["name"] for v in flat}, "files/ holds what the manifest does not list")
    fate = lambda v: "removed" if v["name"] not in found else digest(found[v["name"]], v["size"]) != v["sha256"] and "changed"
    told = [f"{fate(v)} {v['name']}" for v in flat if fate(v)]
    return "; at the door: " + ", ".join(told) if told else ""

def check_blobs(groups, h, whole, identity):
    def part(at, length):
        number, offset = divmod(at, h["payload"]["volumeSize"])
        with open(whole[f"v{number + 1:06}.ctv"], "rb") as file:
            out = os.pread(file.fileno(), length, offset)
        return out + part(at + len(out), length - len(out)) if len(out) < length else out
    for packs, held in groups:
        parts = [opened(part(p["offset"], p["len"]), identity, p["raw"]) for p in packs]
        need([len(raw) for raw in parts] == [p["raw"] for p in packs], "a pack has another length")
        raw = b"".join(parts)
        for v in held:
            need(hashlib.sha256(raw[:v["size"]]).hexdigest() == v["sha256"], f"blob {v['sha256']} has other bytes")
            raw = raw[v["size"]:]

def verify(folders, keys, options):
    folder, there = listing(folders)
    path = pathlib.Path(*there.get("header.dsse.json", ["missing"])[:1])
    need(path.name != "missing" and path.stat().st_size <= 16 * MIB, "the header is missing or too long")
    env = parse(path.read_bytes())
    need(ENVELOPE(env) and len(env["signatures"]) <= 32, "the header is no envelope")
    payload = believe(env, keys, options.threshold)
    v = parse(payload)
    need(env["payloadType"] == "application/vnd.in-toto+json" and PAYLOAD(v), "this is no transfer of version 1")
    h = v["predicate"]
    need(v["subject"] == [{"name": "manifest.jsonl", "digest": {"sha256": h["manifest"]["plainSha256"]}}], "the subject is another")
    need(not options.site or options.site in h["destinations"], "it is for another site")
    manifest = check_header(h, folder)
    sealed, also = h["suite"] == "sealed-1", {f["name"] for f in h["files"]} | {"header.dsse.json"}
    extra = [n for n in there if n not in also and kind_of(n) not in ("patch", "station", "sealed" if sealed else "files")]
    need(not extra, f"the header does not list {extra}")
    whole, said = check_files(h, there, manifest), hashlib.sha256(payload).hexdigest()
    raw = pathlib.Path(whole[manifest]).read_bytes()
    if sealed and not options.identity:
        return said + "; signatures and files only, it was not opened"
    groups, flat = read_manifest(opened(raw, options.identity, h["manifest"]["plainSize"]) if sealed else raw, h)
    check_blobs(groups, h, whole, options.identity)
    return said if sealed else said + at_the_door(there, flat)

def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--key", action="append", required=True), parser.add_argument("--threshold", type=int, default=1)
    parser.add_argument("--site"), parser.add_argument("--identity"), parser.add_argument("--batch", action="store_true")
    parser.add_argument("folders", nargs="*")
    options = parser.parse_args()
    if options.batch == bool(options.folders):
        parser.error("give folders, or --batch")
    keys = [bytes.fromhex("302a300506032b6570032100") + unbase64(key.removeprefix("cofferdam-ed25519:")) for key in options.key]
    for folders in ([line.rstrip("\n")] for line in sys.stdin) if options.batch else [options.folders]:
        try:
            code, said = 0, "verified " + verify([folder.rstrip("/") for folder in folders], keys, options)
        except (ValueError, OSError, RecursionError) as why:
            code, said = 3, f"refused: {why}"
        print(said.replace("\n", " "), flush=True)
    return code

if __name__ == "__main__":
    sys.exit(main())
