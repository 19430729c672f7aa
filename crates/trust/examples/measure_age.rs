//! How fast a file is sealed and opened, one thread, best of nine: a line of JSON for each way to do it.
//! `cargo run --release -p cofferdam-trust --example measure_age`

use std::{error::Error, io::Write as _, time::Instant};

use cofferdam_trust::age::{OpenReader, Sealer, SealingKey, open, open_into};

const LEN: usize = 64 << 20;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    let key = SealingKey::generate()?;
    let sealer = Sealer::new(&[key.recipient()])?;
    let plain: Vec<u8> = (0u8..=252).cycle().take(LEN).collect();
    let sealed = sealer.seal(&plain)?;
    let mut reused = Vec::with_capacity(sealed.len());
    measure("seal", || {
        sealer.seal(&plain)?;
        Ok(())
    })?;
    measure("seal_into, memory used before", || {
        reused.clear();
        sealer.seal_into(&plain, &mut reused)?;
        Ok(())
    })?;
    measure("SealWriter", || {
        let mut writer = sealer.writer(std::io::sink())?;
        writer.write_all(&plain)?;
        writer.finish()?;
        Ok(())
    })?;
    measure("open", || {
        open(&sealed, &key)?;
        Ok(())
    })?;
    measure("open_into, memory used before", || {
        reused.clear();
        open_into(&sealed, &key, &mut reused)?;
        Ok(())
    })?;
    measure("OpenReader", || {
        let mut reader = OpenReader::new(sealed.as_slice(), &key)?;
        std::io::copy(&mut reader, &mut std::io::sink())?;
        Ok(())
    })
}

fn measure(what: &str, mut run: impl FnMut() -> Outcome) -> Outcome {
    let mut best = f64::INFINITY;
    for _ in 0..9 {
        let started = Instant::now();
        run()?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    println!(
        "{}",
        serde_json::json!({ "what": what, "bytes": LEN, "seconds": best, "rate": LEN as f64 / best })
    );
    Ok(())
}
