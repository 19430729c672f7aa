//! What the gateway costs a curl that asks through it, with a site that answers from a table; a measurement, not a
//! test: `cargo run --release -p cofferdam-gateway --example measure_gateway`.

#[allow(dead_code, reason = "the stories of real clients use the rest of it")]
#[path = "../tests/clients/support.rs"]
mod support;

use support::{World, ran};

#[tokio::main]
async fn main() {
    let world = World::new().await;
    let large = vec![7; 512 << 20];
    world.site.answers("https/files.example:PORT/large", 200, &[], &large);
    world.site.answers("https/files.example:PORT/small", 200, &[], b"small");
    let show = ["-sS", "-o", "/dev/null", "-w", "%{time_total} "];
    let Some(done) = ran(world.curl().args(show).arg(world.url("/large"))) else { return };
    let large = done.text();
    let seconds: f64 = large.trim().parse().unwrap();
    println!("a body of 512 MiB: {:.0} MiB/s", 512.0 / seconds);
    let many: Vec<String> =
        (0..500).flat_map(|_| ["-o".into(), "/dev/null".into(), world.url("/small")]).collect();
    let times = ran(world.curl().args(["-sS", "-w", "%{time_total} "]).args(many)).unwrap().text();
    let mut times: Vec<f64> = times.split_whitespace().filter_map(|t| t.parse().ok()).collect();
    println!("first request with its handshake: {:.2} ms", times[0] * 1000.0);
    times.sort_by(f64::total_cmp);
    println!("a further request: {:.3} ms in the middle", times[times.len() / 2] * 1000.0);
}
