//! Order and age are pure decisions.

use cofferdam_transfer::{Freshness, Sequence, StreamState, classify, freshness};
use cofferdam_types::{Sha256, Timestamp};

use crate::made::{check, small};

#[test]
fn order_and_age_are_told_apart() {
    let home = tempfile::tempdir().unwrap();
    let transfer = check(&small(home.path())).unwrap();
    let (mut header, id) = (transfer.header.clone(), transfer.header_sha256);
    let mut state = StreamState { epoch: 1, ..StreamState::default() };
    assert_eq!(classify(&header, id, &state), Sequence::Next);
    state.known.insert((1, 1), id);
    assert_eq!(classify(&header, id, &state), Sequence::AlreadyImported);
    assert_eq!(classify(&header, Sha256::of(b"x"), &state), Sequence::Equivocation);
    let state = StreamState { epoch: 1, last_seq: 4, last_header: Some(id), ..StreamState::default() };
    assert_eq!(classify(&header, id, &state), Sequence::Rollback);
    header.seq = 7;
    assert_eq!(classify(&header, id, &state), Sequence::Gap { missing: 5..=6 });
    header.seq = 5;
    assert_eq!(classify(&header, Sha256::of(b"x"), &state), Sequence::Equivocation, "prev is another");
    header.prev = Some(id);
    assert_eq!(classify(&header, Sha256::of(b"x"), &state), Sequence::Next);
    assert_eq!(freshness(&header, Timestamp::from_seconds(1_500)), Freshness::Current);
    assert!(matches!(freshness(&header, Timestamp::from_seconds(2_001)), Freshness::Expired(_)));
    assert!(matches!(freshness(&header, Timestamp::from_seconds(1)), Freshness::FromTheFuture(_)));
}
