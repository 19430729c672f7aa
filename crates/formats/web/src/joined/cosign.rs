//! stub
use super::Answer;
use cofferdam_format_kit::{
    Door,
    joined::{Joined, UpstreamKeys},
};
use cofferdam_types::Result;
pub async fn join(_: &[Answer<'_>], _: &UpstreamKeys, _: &dyn Door) -> Result<Joined> {
    Ok(Joined::default())
}
