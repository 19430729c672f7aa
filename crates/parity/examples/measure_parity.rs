//! Measures parity on this machine: `measure FOLDER [GIB] [SHARE_PERMILLE] [THREADS] [sparse]`.
//!
//! Writes a data file to FOLDER, encodes it, loses a piece as long as the share, searches and rebuilds it, and
//! prints speeds and the peak of memory. For people; no test depends on it.

use std::fs::{File, OpenOptions};
use std::io::{Error, Result};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use cofferdam_parity::{CheckReader, Damage, Geometry, encode, find_damage, repair};

const MIB: u64 = 1 << 20;

fn open(path: &Path) -> Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)
}

/// Fills a file with bytes that do not repeat, from a small generator.
fn fill(file: &File, len: u64) -> Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut buf = vec![0; 1 << 20];
    for offset in (0..len).step_by(1 << 20) {
        for word in buf.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all_at(&buf, offset)?;
    }
    Ok(())
}

fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM: unknown");
    line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

/// Processor time of all threads so far, in seconds; the kernel counts hundredths.
fn processor_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn report(what: &str, bytes: u64, (since, used): (Instant, f64)) {
    let seconds = since.elapsed().as_secs_f64();
    let used = processor_time() - used;
    #[allow(clippy::cast_precision_loss, reason = "a speed for people")]
    let speed = bytes as f64 / MIB as f64 / seconds;
    println!(
        "{what}: {seconds:.2} s, {speed:.0} MiB/s of data, {used:.2} s of processors, peak {}",
        peak_memory()
    );
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default: u64| args.get(index).and_then(|a| a.parse().ok()).unwrap_or(default);
    let folder = args.first().ok_or_else(|| Error::other("name a folder for the files"))?;
    let (len, share, threads) = (number(1, 1) << 30, number(2, 50), number(3, 2));
    let threads = usize::try_from(threads).map_err(Error::other)?;
    let [data, parity, checks] = ["data", "parity", "checks"].map(|name| open(&Path::new(folder).join(name)));
    let (data, parity, checks) = (data?, parity?, checks?);
    if args.get(4).is_some_and(|a| a == "sparse") {
        data.set_len(len)?
    } else {
        fill(&data, len)?
    };

    let share = u32::try_from(share).map_err(Error::other)?;
    let geometry = Geometry::choose(len, share).map_err(|e| Error::other(e.to_string()))?;
    let layout = geometry.check().map_err(|e| Error::other(e.to_string()))?;
    println!(
        "{geometry:?}: {} data slices, {} parity, checks of {} bytes",
        layout.data_slices(),
        layout.parity_slices(),
        layout.checks_len()
    );
    let start = (Instant::now(), processor_time());
    encode(&geometry, &data, &parity, &checks, threads, &|_| ())?;
    report("encode", len, start);

    let start = (Instant::now(), processor_time());
    let found = find_damage(&geometry, &data, &parity, &CheckReader::new(&checks), threads, &|_| ())?;
    report("search", len, start);
    if !found.is_none() {
        return Err(Error::other("damage where there is none"));
    }

    let mut lost = Damage::none(&layout);
    let begin = len / 3 + 1;
    lost.lose_data(&layout, begin..begin + len / 1000 * u64::from(share));
    for range in lost.data.ranges() {
        let zeros =
            vec![
                0x55;
                usize::try_from(layout.data_bytes(range.start).end - layout.data_bytes(range.start).start)
                    .map_err(Error::other)?
            ];
        range.into_iter().try_for_each(|slice| data.write_all_at(&zeros, layout.data_bytes(slice).start))?;
    }
    let start = (Instant::now(), processor_time());
    let unrepaired = repair(&geometry, &data, &parity, &lost, &data, threads, &|_| ())?;
    report("repair", len, start);
    let found = find_damage(&geometry, &data, &parity, &CheckReader::new(&checks), threads, &|_| ())?;
    println!(
        "{} slices lost, {} not rebuilt, {} still damaged",
        lost.data.len(),
        unrepaired.data.len(),
        found.data.len()
    );

    let mut one = Damage::none(&layout);
    one.lose_data(&layout, begin..begin + 1);
    let start = (Instant::now(), processor_time());
    repair(&geometry, &data, &parity, &one, &data, threads, &|_| ())?;
    println!("one slice: {:.3} s", start.0.elapsed().as_secs_f64());
    Ok(())
}
