//! Prints what this machine allows of the sandbox, as JSON lines.

fn main() -> Result<(), serde_json::Error> {
    for check in cofferdam_sandbox::probe() {
        println!("{}", serde_json::to_string(&check)?);
    }
    Ok(())
}
