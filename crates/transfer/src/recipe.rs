//! placeholder until the crate for deltas is here
use serde::{Deserialize, Serialize};
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    output: u64,
}
impl Recipe {
    pub fn declared_output(&self) -> u64 {
        self.output
    }
}
