//! Bringing answers from upstream (connected side), and admitting them from a transfer.
//!
//! Within one recording an address has one answer: the second time it is asked for, the first answer is
//! given again, so that the replay, which knows no order, is the same. Two cases ask again: a query with
//! a credential (two credentials may open two things) and a redirect to one, whose real target only
//! upstream knows.

use cofferdam_format_kit::{Answer, Change, Door, DoorExt as _, Draft, FileRef, Recorded, Upstream, View};
use cofferdam_types::{Error, ErrorKind, Result};
use http::{HeaderMap, HeaderValue, header};

use crate::{
    coords::Address,
    inspect::{self, Kept},
    serve,
};

/// Bytes of one body at the most: 64 GiB.
const MAX_BODY: u64 = 64 << 30;

/// Fetches the answer of one address.
pub async fn answer(
    whole: &str,
    headers: &HeaderMap,
    view: &dyn View,
    upstream: &dyn Upstream,
    door: &dyn Door,
) -> Result<Recorded> {
    let address = Address::parse(whole)?;
    let kept = serve::kept(&address, headers, view).await?;
    let given = serve::given(&address, &kept, view).await?;
    if let Some((file, answer)) = given
        && address.whole() == address.shown()
        && !answer.leads_to_a_secret()
    {
        return Ok(Recorded { file: Some(file.path.clone()), ..Recorded::default() });
    }
    let fetched = upstream.fetch(&address.whole(), headers).await?;
    if !inspect::is_kept(fetched.status) {
        let text = format!("upstream answered {} for {}", fetched.status.as_u16(), address.shown());
        return Err(Error::new(ErrorKind::Unavailable, "upstream-status", text)
            .hint("nothing of it was kept; run the recording again when upstream is well"));
    }
    let (status, headers_there) = (fetched.status, fetched.headers);
    let answer = Kept::of(&address, headers, status, &headers_there);
    let digests = if answer.leads_to_a_secret() {
        // The text of a redirect repeats its target, and so the credential in it.
        door.put_bytes(Vec::new().into()).await?
    } else {
        door.put(fetched.body, MAX_BODY).await?
    };
    let again = |(f, k): &&(FileRef, Kept)| f.sha256 == digests.sha256 && k.says_the_same(&answer);
    if let Some((file, kept)) = kept.iter().rev().find(again) {
        let live = live(serve::answer(kept, file.sha256, file.size), &headers_there, kept);
        return Ok(Recorded { changes: Vec::new(), answer: live, file: Some(file.path.clone()) });
    }
    let path = answer.path(&address, &digests.sha256);
    let live = live(serve::answer(&answer, digests.sha256, digests.size), &headers_there, &answer);
    let changes = vec![Change::Release(answer.draft(&address, digests))];
    Ok(Recorded { changes, answer: live, file: Some(path) })
}

/// The client of a recording is led where upstream really leads, with the credential that is not kept.
fn live(mut answer: Answer, headers: &HeaderMap, kept: &Kept) -> Option<Answer> {
    let target: HeaderValue = headers.get(header::LOCATION).filter(|_| kept.leads_to_a_secret())?.clone();
    answer.headers.insert(header::LOCATION, target);
    Some(answer)
}

/// Makes the release again from a transfer's claim and the bytes: address, status and headers must be
/// such as a recorder keeps, and place, name and digests must follow from them.
pub async fn admit(claim: &Draft, door: &dyn Door) -> Result<Draft> {
    let refuse = |what: &str| {
        let text = format!("the transfer's entry for {} {} {what}", claim.package, claim.version);
        Err(Error::verification("claim-mismatch", text))
    };
    let [file] = claim.files.as_slice() else { return refuse("does not have exactly one answer") };
    let Ok(kept) = serde_json::from_value::<Kept>(file.meta.clone()) else {
        return refuse("has metadata that is none of an answer");
    };
    let Ok(address) = Address::parse(&kept.url) else { return refuse("names an unusable address") };
    if address.shown() != kept.url || !kept.is_sound() {
        return refuse("has an address, status or header that no recorder keeps");
    }
    let digests = door.digests(&file.digests.sha256).await?;
    if digests != file.digests {
        return refuse("has other digests than its bytes");
    }
    let draft = Draft { published: claim.published, ..kept.draft(&address, digests) };
    if draft != *claim {
        return refuse("does not follow from its address and its bytes");
    }
    Ok(draft)
}
