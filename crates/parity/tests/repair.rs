//! What is lost within the promise comes back exactly; what is not is named exactly.

mod common;

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind};

use cofferdam_parity::{CheckReader, Damage, Geometry, encode, find_damage};
use common::{Medium, Written};
use proptest::prelude::*;

fn members(set: &cofferdam_parity::SliceSet) -> BTreeSet<u64> {
    set.ranges().flatten().collect()
}

/// Several groups by hand, so that small streams show what large ones do.
fn many_groups(groups: u64, rows: u64, parity: u32, cut: u64) -> Geometry {
    let geometry =
        Geometry { slice: 4096, data_len: groups * rows * 4096 - cut, groups, parity_per_group: parity };
    geometry.check().unwrap();
    geometry
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_lost_piece_as_long_as_the_share_comes_back(
        len in 1u64..1_500_000,
        share in prop_oneof![1u32..200, 200u32..=1000],
        position in 0u64..1_500_000,
    ) {
        let written = Written::chosen(len, share);
        let piece = len * u64::from(share) / 1000;
        let start = position % (len - piece + 1);
        let medium = Medium::whole(&written.data).lose(start..start + piece);
        let parity = Medium::whole(&written.parity);
        let damage = written.find(&medium, &parity);
        prop_assert_eq!(members(&damage.data), written.layout().data_slices_touching(start..start + piece).collect());
        let (repaired, rest) = written.repair(&medium, &parity, &damage);
        prop_assert!(rest.data.is_empty());
        prop_assert!(repaired == written.data);
    }

    #[test]
    fn scattered_damage_within_each_groups_parity_comes_back_and_the_rest_is_named(
        groups in 1u64..5,
        rows in 16u64..40,
        parity in 1u32..9,
        cut in 0u64..4096,
        excess in prop::option::of(0u64..5),
        seed in any::<u64>(),
    ) {
        let written = Written::new(many_groups(groups, rows, parity, cut), seed, 2);
        let (mut data, mut own_parity) = (Medium::whole(&written.data), Medium::whole(&written.parity));
        let (mut bad, mut beyond) = (BTreeSet::new(), BTreeSet::new());
        for group in 0..groups {
            // As many as the group can bear, some of them parity; one more in a group that is to fail.
            let fails = excess.is_some_and(|g| g % groups == group);
            let of_parity = (seed >> (group * 8)) % u64::from(parity + 1);
            let of_data = (u64::from(parity) - of_parity + u64::from(fails)).min(rows);
            for row in 0..of_parity {
                own_parity = own_parity.flip((row * groups + group) * 4096 + (seed + row) % 4096);
            }
            for nth in 0..of_data {
                let slice = (seed % rows + nth * 7) % rows * groups + group;
                let at = (slice * 4096 + (seed ^ nth) % 4096).min(written.geometry.data_len - 1);
                if bad.insert(slice) {
                    data = data.flip(at);
                }
                if fails {
                    beyond.insert(slice);
                }
            }
            // Steps of seven may meet again: then there is less damage than the group bears, or a failing one bears it.
            let distinct = bad.iter().filter(|slice| *slice % groups == group).count() as u64;
            if of_parity + distinct <= u64::from(parity) {
                beyond.retain(|slice| slice % groups != group);
            }
        }
        let damage = written.find(&data, &own_parity);
        prop_assert_eq!(&members(&damage.data), &bad);
        let (repaired, rest) = written.repair(&data, &own_parity, &damage);
        prop_assert_eq!(&members(&rest.data), &beyond);
        for slice in (0..written.layout().data_slices()).filter(|slice| !beyond.contains(slice)) {
            let bytes = written.layout().data_bytes(slice);
            let range = usize::try_from(bytes.start).unwrap()..usize::try_from(bytes.end).unwrap();
            prop_assert!(repaired[range.clone()] == written.data[range], "slice {}", slice);
        }
    }
}

#[test]
fn one_flipped_byte_in_a_small_stream_is_found_and_rebuilt_wherever_it_is() {
    let written = Written::chosen(100 << 10, 50);
    let parity = Medium::whole(&written.parity);
    for at in (0..100 << 10).step_by(1999).chain([(100 << 10) - 1]) {
        let medium = Medium::whole(&written.data).flip(at);
        let damage = written.find(&medium, &parity);
        assert_eq!(members(&damage.data), BTreeSet::from([at / 4096]));
        assert!(written.repair(&medium, &parity, &damage).0 == written.data, "byte {at}");
    }
}

#[test]
fn a_lost_tail_and_lost_parity_together_are_borne_up_to_the_parity() {
    let written = Written::new(many_groups(3, 20, 4, 100), 7, 1);
    // Two rows of data and two rows of parity: four of four in each group.
    let data = Medium::whole(&written.data).lose(18 * 3 * 4096..u64::MAX);
    let parity = Medium::whole(&written.parity).lose(2 * 3 * 4096..u64::MAX);
    let damage = written.find(&data, &parity);
    assert_eq!((damage.data.len(), damage.parity.len()), (6, 6));
    let (repaired, rest) = written.repair(&data, &parity, &damage);
    assert!(rest.data.is_empty() && repaired == written.data);
}

#[test]
fn a_file_that_ends_too_early_is_a_loss_of_its_end() {
    let mut short = Written::chosen(500_000, 100);
    let whole = short.data.clone();
    short.data.truncate(470_000);
    let damage = short.find(&short.data, &short.parity);
    assert_eq!(members(&damage.data), short.layout().data_slices_touching(470_000..500_000).collect());
    let (repaired, _) = short.repair(&Medium::whole(&short.data), &Medium::whole(&short.parity), &damage);
    assert!(repaired == whole);
}

#[test]
fn an_unreadable_sector_is_damage_but_a_refusal_of_the_machine_ends_the_search() {
    let written = Written::chosen(300_000, 50);
    let medium = || Medium::whole(&written.data).lose(5000..5001);
    let sector = medium().failing(|| Error::from_raw_os_error(5));
    assert_eq!(members(&written.find(&sector, &written.parity).data), BTreeSet::from([1]));
    let refused = medium().failing(|| ErrorKind::PermissionDenied.into());
    let checks = CheckReader::new(&written.checks);
    let error = find_damage(&written.geometry, &refused, &written.parity, &checks, 2, &|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("data stream at byte"), "{error}");
}

#[test]
fn damage_of_the_check_list_costs_parity_but_no_data() {
    let mut written = Written::chosen(400_000, 50);
    let whole = written.clone();
    // The magic, the entry of slice 3, and the list's end: that of the last parity slice.
    written.checks[2] ^= 1;
    written.checks[8 + 3 * 16 + 5] ^= 1;
    written.checks.truncate(written.checks.len() - 1);
    assert!(!CheckReader::new(&written.checks).has_magic().unwrap());
    let damage = written.find(&written.data, &written.parity);
    assert_eq!(members(&damage.data), BTreeSet::from([3]));
    assert_eq!(members(&damage.parity), BTreeSet::from([written.layout().parity_slices() - 1]));
    let (data, parity) = (Medium::whole(&written.data), Medium::whole(&written.parity));
    let (repaired, rest) = written.repair(&data, &parity, &damage);
    assert!(rest.data.is_empty() && repaired == whole.data);
}

#[test]
fn damage_that_only_the_caller_knows_is_rebuilt_without_a_check_list() {
    let written = Written::chosen(400_000, 50);
    let medium = Medium::whole(&written.data).lose(10_000..20_000);
    let mut damage = Damage::none(&written.layout());
    damage.lose_data(&written.layout(), 10_000..20_000);
    let (repaired, rest) = written.repair(&medium, &Medium::whole(&written.parity), &damage);
    assert!(rest.data.is_empty() && repaired == written.data);
}

#[test]
fn an_empty_stream_has_an_empty_parity_and_a_check_list_of_its_magic() {
    let written = Written::chosen(0, 50);
    assert!(written.parity.is_empty());
    assert_eq!(written.checks, b"CT1CHECK");
    assert!(written.find(&written.data, &written.parity).is_none());
}

#[test]
fn one_byte_is_rebuilt_from_parity_alone() {
    let written = Written::chosen(1, 50);
    assert_eq!(written.parity.len(), 2 * 4096);
    let lost = Medium::whole(&written.data).lose(0..1);
    let parity = Medium::whole(&written.parity).lose(0..4096);
    let damage = written.find(&lost, &parity);
    let (repaired, rest) = written.repair(&lost, &parity, &damage);
    assert!(rest.data.is_empty());
    assert_eq!(repaired, written.data);
}

#[test]
fn a_stream_without_parity_still_tells_what_is_damaged() {
    let written = Written::chosen(3_000_000, 0);
    assert!(written.parity.is_empty());
    assert_eq!(written.checks.len() as u64, written.layout().checks_len());
    let medium = Medium::whole(&written.data).flip(2_999_999);
    let damage = written.find(&medium, &written.parity);
    assert_eq!(members(&damage.data), BTreeSet::from([2_999_999 / 4096]));
    let (_, rest) = written.repair(&medium, &Medium::whole(&[]), &damage);
    assert_eq!(rest.data, damage.data);
}

#[test]
fn the_number_of_threads_changes_no_byte_and_progress_counts_every_byte_once() {
    let geometry = many_groups(7, 33, 5, 1234);
    let one = Written::new(geometry, 3, 1);
    let three = Written::new(geometry, 3, 3);
    assert!(one.parity == three.parity && one.checks == three.checks);
    assert_eq!(one.parity.len() as u64, one.layout().parity_len());
    assert_eq!(one.checks.len() as u64, one.layout().checks_len());
    let done = std::sync::atomic::AtomicU64::new(0);
    let count = |bytes| {
        done.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
    };
    let (parity, checks) = (cofferdam_parity::Memory::default(), cofferdam_parity::Memory::default());
    encode(&geometry, &one.data, &parity, &checks, 3, &count).unwrap();
    assert_eq!(done.into_inner(), geometry.data_len);
}
