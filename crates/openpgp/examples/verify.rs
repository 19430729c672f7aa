//! Verifies a signed message, or a file with its detached signature, with keyrings:
//! `cargo run -p cofferdam-openpgp --example verify -- KEYRING… (--message FILE | --detached FILE SIGNATURE)`.
//! It ends with 0 when a signature holds and none is false.

use cofferdam_openpgp::{Keyring, Outcome, verify_cleartext, verify_detached};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let all: Vec<String> = std::env::args().skip(1).collect();
    let at =
        all.iter().position(|a| a.starts_with("--")).ok_or("--message FILE or --detached FILE SIGNATURE")?;
    let (rings, rest) = all.split_at(at);
    let mut keys = Keyring::default();
    for ring in rings {
        keys.0.extend(Keyring::read(&std::fs::read(ring)?)?.0);
    }
    println!("{} keys", keys.0.len());
    let outcomes = match rest {
        [_, file] => verify_cleartext(&std::fs::read(file)?, &keys)?.1,
        [_, file, signature] => verify_detached(&std::fs::read(file)?, &std::fs::read(signature)?, &keys)?,
        _ => return Err("--message FILE or --detached FILE SIGNATURE".into()),
    };
    for outcome in &outcomes {
        match outcome {
            Outcome::Good(s) => {
                println!("good: {} ({}) at {}, {} bytes of certificate", s.key, s.name, s.made, s.cert.len())
            }
            other => println!("{other:?}"),
        }
    }
    let good = outcomes.iter().any(|o| matches!(o, Outcome::Good(_)));
    let bad = outcomes.iter().any(|o| matches!(o, Outcome::Bad { .. }));
    std::process::exit(i32::from(!good || bad))
}
