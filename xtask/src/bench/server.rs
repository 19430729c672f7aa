//! A server as a child process: started, waited for until it says that it is ready, and ended with
//! its owner.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use crate::Outcome;

/// A running server; dropping it ends the process.
pub struct Server {
    child: Child,
    /// Kept open: a server that writes to a closed pipe would fail.
    _output: BufReader<ChildStdout>,
    /// The line with which it said that it is ready.
    pub ready: String,
}

impl Server {
    /// Starts a command and reads its standard output up to the first line that contains `word`.
    ///
    /// # Errors
    /// When it cannot be started or ends before that line.
    pub fn start(command: &mut Command, word: &str) -> Outcome<Self> {
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|e| format!("cannot run {command:?}: {e}"))?;
        let mut output = BufReader::new(child.stdout.take().expect("standard output is piped"));
        let mut ready = String::new();
        while !ready.contains(word) {
            ready.clear();
            if !matches!(output.read_line(&mut ready), Ok(1..)) {
                let _ = child.kill();
                let ended = child.wait().map_err(|e| e.to_string())?;
                return Err(format!("{command:?} never said `{word}`: {ended}"));
            }
        }
        Ok(Self { child, _output: output, ready: ready.trim_end().into() })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_ready_when_it_says_so_and_ends_with_its_owner() {
        let server =
            Server::start(Command::new("sh").args(["-c", "echo hi; echo ready 7; exec cat"]), "ready");
        assert_eq!(server.unwrap().ready, "ready 7");
        let silent = Server::start(Command::new("true").args(["x"]), "ready").err().unwrap();
        assert!(silent.contains("never said `ready`"), "{silent}");
    }
}
