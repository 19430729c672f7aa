//! Prints what a watched network costs, as JSON: starting, a refusal, a request, a byte.
//!
//! `cargo run --release -p cofferdam-sandbox --example watched_cost -- [RUNS]`; a measurement, not a
//! test. The example is its own client inside and its own server outside.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cofferdam_sandbox::{Attempt, Network, Sandbox, SandboxSpec, SiteDoor, Stdio, Target, Verdict, Watcher};
use cofferdam_types::{Error, Result};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

const DOOR: &str = "127.0.0.1:8080";
const RELAYED: &str = "203.0.113.1:80";
const REFUSED: &str = "203.0.113.2:22";
const SIZE: u64 = 2 << 30;
const BLOCK: usize = 256 * 1024;

#[derive(Debug)]
struct OneWay(SocketAddr);

impl Watcher for OneWay {
    fn decide_early(&self, attempt: &Attempt) -> Option<Verdict> {
        (attempt.port == 80).then_some(Verdict::Relay(Target::Tcp(self.0)))
    }

    fn decide(&self, _: &Attempt) -> Verdict {
        Verdict::Refuse
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let broken = |error| Error::io("measuring", error);
    match arguments.get(1).map(String::as_str) {
        Some("client") => {
            let address = arguments.get(3).and_then(|text| text.parse().ok());
            let address = address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 80)));
            client(arguments.get(2).map_or("", String::as_str), address).map_err(broken)
        }
        runs => {
            let runs = runs.and_then(|n| n.parse().ok()).unwrap_or(100);
            let runtime = tokio::runtime::Runtime::new().map_err(broken)?;
            runtime.block_on(measure(runs))
        }
    }
}

async fn measure(runs: usize) -> Result<()> {
    let server = TcpListener::bind("127.0.0.1:0").map_err(|error| Error::io("listening", error))?;
    let outside = server.local_addr().map_err(|error| Error::io("listening", error))?;
    std::thread::spawn(move || serve(&server));
    let network = Network::Watched {
        doors: vec![SiteDoor { listen: parsed(DOOR), to: Target::Tcp(outside) }],
        watcher: Arc::new(OneWay(outside)),
    };
    let mut inside = json!({ "load": load() });
    // In turns, so that both see the same machine.
    let (mut sealed, mut watched) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..runs {
        for (times, network) in [(&mut sealed, &Network::None), (&mut watched, &network)] {
            let begin = Instant::now();
            let spec = SandboxSpec { network: network.clone(), ..SandboxSpec::new(["/bin/true"]) };
            let mut running = Sandbox::spawn(spec).await?;
            times[0].push(begin.elapsed().as_secs_f64());
            running.wait().await?;
            times[1].push(begin.elapsed().as_secs_f64());
        }
    }
    for (name, [start, total]) in [("sealed", sealed), ("watched", watched)] {
        inside["start"][name] = quantiles(start);
        inside["start_to_end"][name] = quantiles(total);
    }
    // One after the other, so that all three see the same machine.
    for what in ["requests", "connects", "down", "up"] {
        inside[what]["direct"] = direct(what, outside).await?;
        inside[what]["door"] = run(what, DOOR, &network).await?;
        inside[what]["relayed"] = run(what, RELAYED, &network).await?;
    }
    for what in ["refused", "refused_request"] {
        inside[what] = run(what, REFUSED, &network).await?;
    }
    println!("{inside:#}");
    Ok(())
}

/// How many programs want a processor, on average over the last minute.
fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

async fn direct(what: &str, outside: SocketAddr) -> Result<Value> {
    let own = std::env::current_exe().map_err(|error| Error::io("finding this program", error))?;
    let mut client = std::process::Command::new(own);
    client.args(["client", what, &outside.to_string()]);
    let output = tokio::task::spawn_blocking(move || client.output()).await;
    let output = output.map_err(|error| Error::internal("running this program", error))?;
    let output = output.map_err(|error| Error::io("running this program", error))?;
    Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
}

fn parsed(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], 1)))
}

async fn run(what: &str, address: &str, network: &Network) -> Result<Value> {
    let own = std::env::current_exe().map_err(|error| Error::io("finding this program", error))?;
    let own = own.into_os_string();
    let mut spec = SandboxSpec::new([own, "client".into(), what.into(), address.into()]);
    spec.network = network.clone();
    (spec.stdout, spec.stderr) = (Stdio::Piped, Stdio::Inherit);
    let mut running = Sandbox::spawn(spec).await?;
    let mut text = String::new();
    if let Some(mut stdout) = running.stdout.take() {
        stdout.read_to_string(&mut text).await.map_err(|error| Error::io("reading the client", error))?;
    }
    running.wait().await?;
    Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Requests begin with a letter: an echo of 1 KiB, a download, an upload.
fn serve(server: &TcpListener) {
    for stream in server.incoming().flatten() {
        std::thread::spawn(move || answer(stream));
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let _ = stream.set_nodelay(true);
    let mut buffer = vec![0; BLOCK];
    let mut letter = [0];
    stream.read_exact(&mut letter)?;
    match letter[0] {
        b'd' => {
            for _ in 0..SIZE / BLOCK as u64 {
                stream.write_all(&buffer)?;
            }
            Ok(())
        }
        b'u' => {
            while stream.read(&mut buffer)? > 0 {}
            stream.write_all(b"!")
        }
        _ => loop {
            stream.read_exact(&mut buffer[..1024])?;
            stream.write_all(&buffer[..1024])?;
        },
    }
}

fn client(what: &str, address: SocketAddr) -> std::io::Result<()> {
    let mut buffer = vec![0; BLOCK];
    let result = match what {
        "requests" => {
            let mut stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.write_all(b"e")?;
            let mut times = Vec::new();
            for _ in 0..2000 {
                let begin = Instant::now();
                stream.write_all(&buffer[..1024])?;
                stream.read_exact(&mut buffer[..1024])?;
                times.push(begin.elapsed().as_secs_f64());
            }
            quantiles(times)
        }
        "connects" => quantiles(timed(300, || {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(b"e")?;
            stream.write_all(&[0; 1024])?;
            stream.read_exact(&mut [0; 1024])
        })?),
        "refused" => quantiles(timed(20, || {
            let mut stream = TcpStream::connect(address)?;
            let _ = stream.read(&mut [0]);
            Ok(())
        })?),
        "refused_request" => quantiles(timed(50, || {
            let mut stream = TcpStream::connect(address)?;
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: files.example\r\n\r\n");
            let _ = stream.read(&mut [0]);
            Ok(())
        })?),
        "down" => {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(b"d")?;
            let (begin, mut total) = (Instant::now(), 0);
            loop {
                match stream.read(&mut buffer)? {
                    0 => break rate(total, begin.elapsed()),
                    length => total += length as u64,
                }
            }
        }
        _ => {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(b"u")?;
            let begin = Instant::now();
            for _ in 0..SIZE / BLOCK as u64 {
                stream.write_all(&buffer)?;
            }
            stream.shutdown(std::net::Shutdown::Write)?;
            stream.read_exact(&mut [0])?;
            rate(SIZE, begin.elapsed())
        }
    };
    println!("{result}");
    Ok(())
}

fn timed(runs: usize, mut work: impl FnMut() -> std::io::Result<()>) -> std::io::Result<Vec<f64>> {
    (0..runs)
        .map(|_| {
            let begin = Instant::now();
            work().map(|()| begin.elapsed().as_secs_f64())
        })
        .collect()
}

fn rate(bytes: u64, time: Duration) -> Value {
    json!({ "bytes": bytes, "GB_per_s": bytes as f64 / time.as_secs_f64() / 1e9 })
}

fn quantiles(mut seconds: Vec<f64>) -> Value {
    seconds.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let index = (seconds.len() * percent / 100).min(seconds.len().saturating_sub(1));
        seconds.get(index).map_or(0.0, |time| (time * 1e6).round() / 1e3)
    };
    json!({ "p50_ms": at(50), "p95_ms": at(95) })
}
