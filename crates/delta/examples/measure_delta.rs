//! Measures recipes on real files: `measure OLD NEW [OLD NEW ...]` prints one line of JSON for each
//! pair and level. `--only-deflate` before the files leaves out the lower levels.

use std::time::Instant;

use cofferdam_delta::{Level, Limits, plan};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut files: Vec<String> = std::env::args().skip(1).collect();
    let mut levels = vec![Level::Copy, Level::Prefix, Level::Deflate];
    if files.first().is_some_and(|first| first == "--only-deflate") {
        files.remove(0);
        levels.drain(..2);
    }
    let limits = Limits::default();
    for pair in files.chunks_exact(2) {
        let (base, target) = (std::fs::read(&pair[0])?, std::fs::read(&pair[1])?);
        for &level in &levels {
            let start = Instant::now();
            let plan = plan(&base, &target, level, &limits)?;
            let planned = start.elapsed().as_secs_f64();
            let mut line = serde_json::json!({
                "file": std::path::Path::new(&pair[1]).file_name().map(|n| n.to_string_lossy()),
                "whole": target.len(), "level": format!("{level:?}"), "plan_seconds": planned,
                "carried": target.len(),
            });
            if let Some(plan) = plan {
                let mut out = Vec::with_capacity(target.len());
                let start = Instant::now();
                plan.recipe.execute(&base, &plan.payload, &limits, &mut out)?;
                line["execute_seconds"] = start.elapsed().as_secs_f64().into();
                let recipe = plan.recipe.to_json()?;
                line["carried"] = (plan.payload.len() + recipe.len()).into();
                line["recipe"] = serde_json::from_str(&recipe)?;
                line["used"] = format!("{:?}", plan.level).into();
                assert!(out == target);
            }
            println!("{line}");
        }
    }
    Ok(())
}
