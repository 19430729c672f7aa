//! Bringing answers from upstream (connected side), and admitting them from a transfer.
//!
//! Within one recording an address has one answer: the second time it is asked for, the first answer is
//! given again, so that the replay, which knows no order, is the same. Two cases ask again: a query with
//! a credential (two credentials may open two things) and an answer that leads to one, whose real target
//! only upstream knows.
//!
//! Another recording asks upstream again, but for what never changes: see [`crate::lasting`].

use bytes::Bytes;
use cofferdam_format_kit::{
    Answer, Change, Connection, Door, DoorExt as _, Draft, Fetched, FileRef, Question, Recorded, Upstream,
    View,
};
use cofferdam_types::{Digests, Error, ErrorKind, Result};
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize as _;

use crate::{
    coords::Address,
    image,
    inspect::{self, Kept},
    question, serve,
};

/// Bytes of one body at the most: 64 GiB.
const MAX_BODY: u64 = 64 << 30;

/// Bytes of a redirect's text at the most that are kept.
const MAX_REDIRECT: usize = 64 << 10;

/// Bytes of an answer in which a registry's token is looked for: those that say their length, and others.
const MAX_TOKEN: (u64, usize) = (64 << 10, 16 << 20);

/// Fetches the answer of one address, or of a question there.
pub async fn answer(
    (whole, question): (&str, Option<&Question>),
    headers: &HeaderMap,
    view: &dyn View,
    upstream: &dyn Upstream,
    door: &dyn Door,
) -> Result<Recorded> {
    let number = question.map(|q| question::number(&q.body)).transpose()?;
    let address = Address::parse(whole)?.asking(number);
    let kept = serve::kept(&address, headers, view).await?;
    if address.whole() == address.shown()
        && let Some((file, answer)) = serve::given(&address, &kept, view).await?
        && !answer.leads_to_a_secret()
    {
        return Ok(Recorded { file: Some(file.path.clone()), ..Recorded::default() });
    }
    if let Some(file) = for_ever(&address, &kept) {
        return Ok(Recorded { file: Some(file.path.clone()), ..Recorded::default() });
    }
    let fetched = match question {
        None => upstream.fetch(&address.whole(), headers).await?,
        Some(question) => upstream.ask(&address.whole(), headers, question).await?,
    };
    if !inspect::is_kept(fetched.status) {
        let text = format!("upstream answered {} for {}", fetched.status.as_u16(), address.shown());
        return Err(Error::new(ErrorKind::Unavailable, "upstream-status", text)
            .hint("nothing of it was kept; run the recording again when upstream is well"));
    }
    let (headers_there, connection) = (fetched.headers.clone(), fetched.connection.clone());
    let answer = Kept::of(&address, headers, fetched.status, &headers_there);
    let (answer, digests) = match address.asks_for_token() && is_json(&fetched) {
        true => store_without_token(answer, fetched, door).await?,
        false => store(answer, fetched, door).await?,
    };
    if answer.status == 200
        && let Some(named) = address.digest().filter(|named| *named != digests.sha256)
    {
        let text = format!("{} gives other bytes than it names: {}", address.shown(), digests.sha256);
        return Err(Error::verification("upstream-digest", format!("{text}, not {named}"))
            .hint("nothing of it was kept; the registry is damaged, or somebody is in between"));
    }
    let again = |(f, k): &&(FileRef, Kept)| f.sha256 == digests.sha256 && k.says_the_same(&answer);
    if let Some((file, kept)) = kept.iter().rev().find(again) {
        let live = live(serve::answer(kept, file.sha256, file.size), &headers_there, kept);
        return Ok(Recorded { answer: Some(live), file: Some(file.path.clone()), ..Recorded::default() });
    }
    let path = answer.path(&address, &digests.sha256);
    // It says all that a client needs, so that it can be given before it is committed.
    let live = live(serve::answer(&answer, digests.sha256, digests.size), &headers_there, &answer);
    let changes = vec![Change::Release(answer.draft(&address, digests, connection.as_ref()))];
    Ok(Recorded { changes, answer: Some(live), file: Some(path) })
}

/// What an earlier recording was given, where there can be no other answer and never was one.
fn for_ever<'a>(address: &Address, kept: &'a [(FileRef, Kept)]) -> Option<&'a FileRef> {
    let mut found = kept.iter().filter(|(_, kept)| kept.status == 200);
    let (file, answer) = found.next()?;
    let alone = found.next().is_none() && !answer.leads_to_a_secret();
    (alone && address.never_changes()).then_some(file)
}

fn is_json(fetched: &Fetched) -> bool {
    let kind = fetched.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let length =
        fetched.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    fetched.status == http::StatusCode::OK
        && length.is_none_or(|bytes| bytes <= MAX_TOKEN.0)
        && kind.to_ascii_lowercase().contains("json")
        && !fetched.headers.contains_key(header::CONTENT_ENCODING)
}

/// Stores what a registry's realm says, without the token in it: nobody needs that, for it goes nowhere.
async fn store_without_token(answer: Kept, fetched: Fetched, door: &dyn Door) -> Result<(Kept, Digests)> {
    let body = fetched.bytes(MAX_TOKEN.1).await?;
    match image::without_token(&body) {
        Some(kept) => Ok((answer.without_body(), door.put_bytes(kept).await?)),
        None => Ok((answer, door.put_bytes(body).await?)),
    }
}

/// Stores the body. A redirect's text repeats its target, and with it a credential: then it has none.
async fn store(answer: Kept, fetched: Fetched, door: &dyn Door) -> Result<(Kept, Digests)> {
    if !answer.is_redirect() {
        return Ok((answer, door.put(fetched.body, MAX_BODY).await?));
    }
    let text = match answer.leads_to_a_secret() || fetched.headers.contains_key(header::CONTENT_ENCODING) {
        true => None,
        // One that is too long to be looked through is not kept either.
        false => match fetched.bytes(MAX_REDIRECT).await {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::TooLarge => None,
            Err(error) => return Err(error),
        },
    };
    match text.filter(|text| !inspect::names_a_secret(&String::from_utf8_lossy(text))) {
        Some(text) => Ok((answer, door.put_bytes(text).await?)),
        None => Ok((answer.without_body(), door.put_bytes(Bytes::new()).await?)),
    }
}

/// The client of a recording is led where upstream really leads, with the credential that is not kept.
fn live(mut answer: Answer, headers: &HeaderMap, kept: &Kept) -> Answer {
    if !kept.leads_to_a_secret() {
        return answer;
    }
    for name in [header::LOCATION, header::LINK] {
        if let Some(there) = inspect::joined(headers, name.as_str())
            && let Ok(value) = HeaderValue::from_str(&there)
        {
            answer.headers.insert(name, value);
        }
    }
    answer
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
    let address = address.asking(kept.question);
    let asked = kept.question.is_none() || kept.url.ends_with(question::SERVICE);
    if address.shown() != kept.url || !asked || !kept.is_sound() {
        return refuse("has an address, status or header that no recorder keeps");
    }
    let digests = door.digests(&file.digests.sha256).await?;
    if digests != file.digests {
        return refuse("has other digests than its bytes");
    }
    let connection = claim.meta.get(inspect::CONNECTION).map(Connection::deserialize);
    let connection = connection.transpose().ok().filter(|c| c.as_ref().is_none_or(Connection::is_sound));
    let Some(connection) = connection else {
        return refuse("says of its connection what no recorder says");
    };
    let draft = kept.draft(&address, digests, connection.as_ref());
    let draft = Draft { published: claim.published, ..draft };
    if draft != *claim {
        return refuse("does not follow from its address and its bytes");
    }
    Ok(draft)
}
