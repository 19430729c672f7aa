//! A geometry from a stranger's header: refused or bounded, never a panic or a wild allocation.

mod common;

use std::io::ErrorKind;

use cofferdam_parity::{CheckReader, Damage, Geometry, Memory, encode, find_damage, repair};
use proptest::prelude::*;

fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..70, any::<u64>(), (0u32..64, 0u64..3).prop_map(|(bit, more)| (1u64 << bit) - 1 + more)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_geometry_is_refused_or_bounded(
        slice in prop_oneof![any::<u32>(), (0u32..32).prop_map(|bit| 1 << bit)],
        data_len in any_number(),
        groups in any_number(),
        parity_per_group in prop_oneof![0u32..40, any::<u32>()],
    ) {
        let geometry = Geometry { slice, data_len, groups, parity_per_group };
        if let Ok(layout) = geometry.check() {
            prop_assert!(layout.data_slices() <= 1 << 26);
            prop_assert!(layout.parity_slices() <= layout.data_slices() + layout.data_slices() / 8 + 2);
            prop_assert!(layout.checks_len() <= 1 << 32);
            prop_assert!(layout.data_bytes(u64::MAX).is_empty());
            let _ = layout.data_slices_touching(data_len..u64::MAX);
            let damage = Damage::none(&layout);
            prop_assert!(damage.data.bound() + damage.parity.bound() <= 1 << 28);
        }
    }
}

#[test]
fn nothing_is_read_or_written_for_a_geometry_that_fails_its_check() {
    let good = common::Written::chosen(100_000, 50);
    let hostile = [
        Geometry { slice: 0, ..good.geometry },
        Geometry { slice: 4097, ..good.geometry },
        Geometry { data_len: u64::MAX, ..good.geometry },
        Geometry { groups: 0, ..good.geometry },
        Geometry { groups: u64::MAX, ..good.geometry },
        Geometry { groups: 25, ..good.geometry },
        Geometry { parity_per_group: u32::MAX, ..good.geometry },
        Geometry { parity_per_group: 33, ..good.geometry },
    ];
    for geometry in hostile {
        assert_eq!(geometry.check().unwrap_err().code(), "bad-parity-geometry", "{geometry:?}");
        let (parity, checks) = (Memory::default(), Memory::default());
        let encoded = encode(&geometry, &good.data, &parity, &checks, 2, &|_| ());
        assert_eq!(encoded.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(parity.into_bytes().is_empty() && checks.into_bytes().is_empty());
        let list = CheckReader::new(&good.checks);
        let found = find_damage(&geometry, &good.data, &good.parity, &list, 2, &|_| ());
        assert_eq!(found.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn damage_of_another_stream_does_not_panic() {
    let (small, large) = (common::Written::chosen(50_000, 50), common::Written::chosen(900_000, 50));
    let mut damage = Damage::none(&large.layout());
    damage.lose_data(&large.layout(), 0..900_000);
    let place = Memory::default();
    let rest = repair(&small.geometry, &small.data, &small.parity, &damage, &place, 1, &|_| ()).unwrap();
    assert_eq!(rest.data.len(), small.layout().data_slices());
}
