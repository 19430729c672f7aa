//! Index documents: a PyPI page of 2,000 files and an npm packument of 1,000 versions, of ours and
//! of [`peers`](super::peers) in the same run.

use std::{io::Write as _, net::SocketAddr, time::Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{
    Line,
    client::Client,
    load::{Load, Measured, measure},
    peers, percentile,
    site::Site,
};
use crate::Outcome;

const FILES: usize = 2000;
const VERSIONS: usize = 1000;
const CONNECTIONS: usize = 4;
/// Seconds that one measurement takes, about.
const SECONDS: f64 = 4.0;

/// Both halves.
pub(super) fn run() -> Outcome {
    // One that fails does not take the other's numbers away.
    [pypi_page(), npm_packument()].into_iter().collect()
}

/// The PyPI page, and pypiserver's.
pub(super) fn pypi_page() -> Outcome {
    let site = Site::create()?;
    let _server = site.start()?;
    let wheels = tempfile::tempdir().map_err(|e| e.to_string())?;
    let headers = [site.bearer(), vec!["Content-Type: multipart/form-data; boundary=bench".into()]].concat();
    let publish = |n, client: &mut Client| {
        let version = format!("1.0.{n}");
        let file = format!("bench_many-{version}-py3-none-any.whl");
        let wheel = wheel(&version)?;
        std::fs::write(wheels.path().join(&file), &wheel).map_err(|e| e.to_string())?;
        accepted(client.ask("POST /r/pypi-local/", &headers, &form(&version, &file, &wheel))?.status)
    };
    fill("PyPI publish", FILES, publish, &site)?;
    let rates = ours("PyPI page", site.address, "/r/pypi-local/simple/bench-many/", "text/html")?;
    peers::pypiserver(wheels.path(), &rates)
}

/// The npm packument, and verdaccio's.
pub(super) fn npm_packument() -> Outcome {
    let site = Site::create()?;
    let _server = site.start()?;
    let headers = [site.bearer(), vec!["Content-Type: application/json".into()]].concat();
    let publish = |n, client: &mut Client| {
        let body = npm(&format!("1.0.{n}"))?;
        accepted(client.ask("PUT /r/npm-local/bench-many", &headers, body.as_bytes())?.status)
    };
    fill("npm publish", VERSIONS, publish, &site)?;
    let page = site.client()?.ask("GET /r/npm-local/bench-many", &[], &[])?;
    let rates = ours("npm packument", site.address, "/r/npm-local/bench-many", "application/json")?;
    peers::verdaccio(&page.body, &rates)
}

fn accepted(status: u16) -> Outcome {
    if (200..300).contains(&status) { Ok(()) } else { Err(format!("a publish was answered with {status}")) }
}

/// Publishes one after the other and says what one costs at the start and at the end.
fn fill(
    what: &str,
    count: usize,
    mut publish: impl FnMut(usize, &mut Client) -> Outcome,
    site: &Site,
) -> Outcome {
    let (mut client, mut times) = (site.client()?, Vec::new());
    for n in 0..count {
        let start = Instant::now();
        publish(n, &mut client)?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    for (part, times) in
        [("first 100", &mut times[..100].to_vec()), ("last 100", &mut times[count - 100..].to_vec())]
    {
        times.sort_by(f64::total_cmp);
        say(&format!("{what}, {part} of {count}, p50"), percentile(times, 0.5).ok_or("none")?, "ms", None)?;
    }
    Ok(())
}

fn say(metric: &str, value: f64, unit: &str, against: Option<(&str, f64)>) -> Outcome {
    let (peer, ratio) = (against.map(|a| a.0), against.map(|a| a.1));
    Line { bench: "registry", metric, value, unit, peer, ratio }.print()
}

/// Sends as many requests as fit into the time that a few of them predict.
pub(super) fn sized(mut load: Load) -> Outcome<Measured> {
    load.requests = 3;
    let trial = measure(&load)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a count of requests"
    )]
    let requests = (trial.per_second * SECONDS / load.connections as f64) as usize;
    load.requests = requests.clamp(5, 20_000);
    measure(&load)
}

pub(super) fn load(address: SocketAddr, target: &str, headers: Vec<String>, status: u16) -> Load {
    Load { address, target: target.into(), headers, status, connections: CONNECTIONS, requests: 0 }
}

pub(super) fn told(what: &str, m: &Measured, against: Option<(&str, f64)>) -> Outcome {
    say(what, m.per_second, "requests/s", against)?;
    say(&format!("{what} p50"), m.p50_ms, "ms", None)?;
    say(&format!("{what} p95"), m.p95_ms, "ms", None)
}

/// Requests per second for a document: whole, packed, and unchanged.
pub(super) struct Rates {
    pub(super) plain: f64,
    pub(super) packed: f64,
    pub(super) unchanged: f64,
}

/// Our documents: identity, gzip, 304.
fn ours(what: &str, address: SocketAddr, target: &str, accept: &str) -> Outcome<Rates> {
    let accept = format!("Accept: {accept}");
    let gzip = vec![accept.clone(), "Accept-Encoding: gzip".into()];
    let plain = sized(load(address, target, vec![accept.clone()], 200))?;
    told(&format!("{what}, identity"), &plain, None)?;
    let packed = sized(load(address, target, gzip.clone(), 200))?;
    told(&format!("{what}, gzip"), &packed, None)?;
    let answer = Client::connect(address)?.ask(&format!("GET {target}"), &gzip, &[])?;
    let size = f64::from(u32::try_from(answer.body.len()).unwrap_or(u32::MAX));
    say(&format!("{what}, gzip, size"), size, "bytes", None)?;
    let etag = answer.header("etag").ok_or("a document without an ETag")?;
    let unchanged =
        sized(load(address, target, [gzip, vec![format!("If-None-Match: {etag}")]].concat(), 304))?;
    told(&format!("{what}, 304"), &unchanged, None)?;
    Ok(Rates { plain: plain.per_second, packed: packed.per_second, unchanged: unchanged.per_second })
}

fn wheel(version: &str) -> Outcome<Vec<u8>> {
    let info = format!("bench_many-{version}.dist-info");
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (path, text) in [
        ("bench_many.py".to_owned(), format!("version = '{version}'\n")),
        (
            format!("{info}/METADATA"),
            format!("Metadata-Version: 2.1\nName: bench-many\nVersion: {version}\n"),
        ),
        (
            format!("{info}/WHEEL"),
            "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n".into(),
        ),
        (format!("{info}/RECORD"), format!("bench_many.py,,\n{info}/RECORD,,\n")),
    ] {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(path, options).map_err(|e| e.to_string())?;
        zip.write_all(text.as_bytes()).map_err(|e| e.to_string())?;
    }
    Ok(zip.finish().map_err(|e| e.to_string())?.into_inner())
}

fn form(version: &str, file: &str, wheel: &[u8]) -> Vec<u8> {
    let mut body = String::new();
    for (field, value) in
        [(":action", "file_upload"), ("protocol_version", "1"), ("name", "bench-many"), ("version", version)]
    {
        body += &format!("--bench\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n");
    }
    body += "--bench\r\nContent-Disposition: form-data; name=\"content\"; ";
    body += &format!("filename=\"{file}\"\r\nContent-Type: application/octet-stream\r\n\r\n");
    [body.as_bytes(), wheel, b"\r\n--bench--\r\n"].concat()
}

fn npm(version: &str) -> Outcome<String> {
    let manifest = json!({ "name": "bench-many", "version": version, "main": "index.js" });
    let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(encoder);
    let text = manifest.to_string();
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, "package/package.json", text.as_bytes()).map_err(|e| e.to_string())?;
    let tarball = tar.into_inner().and_then(flate2::write::GzEncoder::finish).map_err(|e| e.to_string())?;
    let attachment = json!({
        "content_type": "application/octet-stream", "data": STANDARD.encode(&tarball), "length": tarball.len(),
    });
    let body = json!({
        "_id": "bench-many", "name": "bench-many", "dist-tags": { "latest": version },
        "versions": { version: manifest }, "_attachments": { format!("bench-many-{version}.tgz"): attachment },
    });
    Ok(body.to_string())
}
