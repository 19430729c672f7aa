//! Prints which registries this machine's clients use, without printing any secret.
//!
//! `cargo run -p cofferdam-upstream --example discover [-- FORMAT PATH [ACCEPT]]`: with arguments it also
//! fetches one document below that registry's root and says how large it was and how long it took.

use std::{path::Path, time::Instant};

use cofferdam_format_kit::Upstream as _;
use cofferdam_upstream::{HttpUpstream, Options, discover};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let all = discover(&|name| std::env::var(name).ok(), Path::new(&home), Path::new("/"), &[]);
    for found in &all.found {
        println!("{}: {} (from {})", found.format, found.root, found.source);
        let set = |yes: bool| if yes { "yes" } else { "no" };
        println!(
            "  credentials: {}, CA bundle: {:?}, proxy: {}",
            set(found.credentials.is_some()),
            found.ca_bundle,
            set(found.proxy.is_some())
        );
    }
    all.warnings.iter().for_each(|warning| println!("warning: {warning}"));
    for (format, error) in &all.errors {
        println!("{format}: {error}; {}", error.advice().unwrap_or_default());
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [format, path, accept @ ..] = args.as_slice() else { return Ok(()) };
    let found = all.of(format).ok_or("no such format was found")?.clone();
    let upstream = HttpUpstream::new(found, &Options::default())?;
    let start = Instant::now();
    let answer = upstream.get(path, accept.first().map(String::as_str)).await?;
    let status = answer.status;
    let bytes = answer.bytes(64 << 20).await?;
    println!("{path}: {status}, {} bytes in {:?}", bytes.len(), start.elapsed());
    Ok(())
}
