//! What a recipe from an enemy does: it ends, with a code, within its limits.

use std::io::Write;

use cofferdam_delta::{Level, Limits, Plan, Recipe, plan};
use proptest::prelude::*;

fn limits() -> Limits {
    Limits { memory: 64 << 20, output: 64 << 20, work: 1 << 30 }
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).unwrap()
}

fn deflated(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// Runs a program given as JSON on a base; answers the error's code, or none.
fn run(base: &[u8], program: &str, frames: &[u8], output: u64, limits: &Limits) -> Option<&'static str> {
    let packed = pack(program.as_bytes());
    let recipe = format!(
        r#"{{"v":1,"base":{},"output":{output},"program":{{"len":{},"size":{}}}}}"#,
        base.len(),
        packed.len(),
        program.len()
    );
    let recipe = Recipe::from_json(&recipe).unwrap();
    let payload = [packed.as_slice(), frames].concat();
    let mut out = Vec::new();
    let code = recipe.execute(base, &payload, limits, &mut out).err().map(|error| error.code());
    assert!(out.len() as u64 <= output);
    code
}

/// A section without views, of a base of 100 bytes.
fn section(ops: &str, frame: &[u8], size: usize) -> String {
    format!(r#"[{{"scope":[0,100],"frame":{{"len":{},"size":{size}}},"ops":[{ops}]}}]"#, frame.len())
}

#[test]
fn offsets_and_lengths_outside_the_base_are_refused() {
    let base = [7; 100];
    let empty = pack(b"");
    for ops in [
        r#"{"copy":[0,101]}"#,
        r#"{"copy":[100,1]}"#,
        r#"{"copy":[-1,1]}"#,
        r#"{"copy":[50,50]},{"copy":[0,1]}"#,
        r#"{"copy":[9223372036854775807,18446744073709551615]}"#,
        r#"{"copy":[9223372036854775807,1]},{"copy":[9223372036854775807,9]},{"copy":[9,9]}"#,
        r#"{"copy":[0,18446744073709551615]}"#,
        r#"{"copy":[-9223372036854775808,0]}"#,
        r#"{"data":1}"#,
        r#"{"data":18446744073709551615},{"data":18446744073709551615}"#,
    ] {
        assert_eq!(
            run(&base, &section(ops, &empty, 0), &empty, 1000, &limits()),
            Some("recipe-bad"),
            "{ops}"
        );
    }
    for head in [
        r#""scope":[0,101]"#,
        r#""scope":[18446744073709551615,2]"#,
        r#""scope":[0,0],"views":[[99,2,5]]"#,
        r#""scope":[0,0],"views":[[0,5,18446744073709551615],[0,5,18446744073709551615]]"#,
        r#""scope":[0,0],"views":[[18446744073709551615,5,5]]"#,
        r#""scope":[0,0],"views":[[0,50,5]]"#,
    ] {
        let program = format!(r#"[{{{head},"frame":{{"len":{},"size":0}},"ops":[]}}]"#, empty.len());
        let code = run(&base, &program, &empty, 0, &limits());
        assert_eq!(code, Some("recipe-bad"), "{head}");
    }
}

#[test]
fn what_contradicts_itself_is_refused_with_its_own_code() {
    let base = [7; 100];
    let copy = section(r#"{"copy":[0,100]}"#, &pack(b""), 0);
    let empty = pack(b"");
    assert_eq!(run(&base, &copy, &empty, 100, &limits()), None);
    assert_eq!(run(&base, &copy, &empty, 99, &limits()), Some("recipe-bad"), "gives more");
    assert_eq!(run(&base, &copy, &empty, 101, &limits()), Some("recipe-bad"), "gives less");
    assert_eq!(
        run(&base, &copy, &[&empty[..], b"x"].concat(), 100, &limits()),
        Some("recipe-bad"),
        "left over"
    );
    assert_eq!(run(&base, &copy, &empty[1..], 100, &limits()), Some("recipe-bad"), "cut off");
    let unknown = section(r#"{"deflate":{"as":"zopfli-9-8","ops":[]}}"#, &empty, 0);
    assert_eq!(run(&base, &unknown, &empty, 100, &limits()), Some("recipe-unknown-encoder"));
    for text in ["", "{}", "[[]]", r#"[{"scope":[0,0],"frame":{"len":0,"size":0},"ops":[],"more":1}]"#] {
        assert_eq!(run(&base, text, &[], 0, &limits()), Some("recipe-bad"), "{text}");
    }
}

#[test]
fn another_version_and_another_base_are_named_as_such() {
    let recipe = |v: u32| {
        let text = format!(r#"{{"v":{v},"base":5,"output":5,"program":{{"len":0,"size":0}}}}"#);
        Recipe::from_json(&text).unwrap()
    };
    let code = |v, base: &[u8]| recipe(v).execute(base, &[], &limits(), &mut Vec::new()).unwrap_err().code();
    assert_eq!(code(2, b"12345"), "recipe-unknown-version");
    assert_eq!(code(1, b"1234"), "recipe-wrong-base");
    for text in [
        r#"{"v":1,"base":5,"output":5,"program":{"len":0,"size":0},"x":1}"#,
        r#"{"v": 1,"base":5,"output":5,"program":{"len":0,"size":0}}"#,
        r#"{"base":5,"v":1,"output":5,"program":{"len":0,"size":0}}"#,
        r#"{"v":1,"base":-5,"output":5,"program":{"len":0,"size":0}}"#,
    ] {
        assert_eq!(Recipe::from_json(text).unwrap_err().code(), "recipe-bad", "{text}");
    }
}

#[test]
fn nesting_deeper_than_three_is_refused() {
    let (base, data) = ([7; 100], pack(b"x"));
    let nest = |depth: usize| {
        let open = r#"{"deflate":{"as":"zlib-6-8","ops":["#.repeat(depth);
        section(&format!(r#"{open}{{"data":1}}{}"#, "]}}".repeat(depth)), &data, 1)
    };
    assert_eq!(run(&base, &nest(3), &data, 7, &limits()), None, "three streams, each in the next");
    for depth in [4, 40] {
        assert_eq!(run(&base, &nest(depth), &data, 9, &limits()), Some("recipe-bad"), "{depth}");
    }
    assert_eq!(
        run(&base, &nest(4000), &data, 9, &limits()),
        Some("recipe-bad"),
        "deeper than the reader goes"
    );
}

#[test]
fn bombs_in_the_base_and_in_the_payload_end_at_the_limits() {
    let bomb = deflated(&vec![0; 50 << 20]);
    let (len, empty) = (bomb.len(), pack(b""));
    let view = |size: u64| {
        format!(
            r#"[{{"scope":[0,0],"views":[[0,{len},{size}]],"frame":{{"len":{},"size":0}},"ops":[]}}]"#,
            empty.len()
        )
    };
    assert_eq!(run(&bomb, &view(1000), &empty, 0, &limits()), Some("recipe-bad"), "gives more than it says");
    let small = Limits { memory: 20 << 20, ..limits() };
    assert_eq!(run(&bomb, &view(50 << 20), &empty, 0, &small), Some("recipe-too-large"));
    assert_eq!(run(&bomb, &view(1 << 50), &empty, 0, &limits()), Some("recipe-too-large"));

    let packed = pack(&vec![0; 50 << 20]);
    let data = |size: u64| {
        let frame = packed.len();
        format!(r#"[{{"scope":[0,0],"frame":{{"len":{frame},"size":{size}}},"ops":[{{"data":{size}}}]}}]"#)
    };
    assert_eq!(run(&[], &data(50 << 20), &packed, 50 << 20, &small), Some("recipe-too-large"));
    assert_eq!(run(&[], &data(1000), &packed, 1000, &limits()), Some("recipe-bad"));
    assert_eq!(run(&[], &data(10), &packed, 65 << 20, &limits()), Some("recipe-too-large"), "the output");

    let text = r#"{"v":1,"base":0,"output":5,"program":{"len":0,"size":999999999999}}"#;
    let error = Recipe::from_json(text).unwrap().execute(b"", &[], &limits(), &mut Vec::new()).unwrap_err();
    assert_eq!(error.code(), "recipe-bad", "a program that long");
}

#[test]
fn work_without_output_ends_at_its_limit() {
    let base = vec![0; 1 << 20];
    let empty = pack(b"");
    let tight = Limits { work: 100 << 20, ..limits() };
    // A gigabyte of zeros through an encoder: hardly any output.
    let copies = vec![r#"{"copy":[0,1048576]},{"copy":[-1048576,0]}"#; 1024].join(",");
    let program = format!(
        r#"[{{"scope":[0,0],"frame":{{"len":{},"size":0}},"ops":[{{"deflate":{{"as":"zlib-9-8","ops":[{copies}]}}}}]}}]"#,
        empty.len()
    );
    assert_eq!(run(&base, &program, &empty, 60 << 20, &tight), Some("recipe-too-much-work"));
    // Many encoders and many views that do nothing.
    let encoders = vec![r#"{"deflate":{"as":"zlib-9-8","ops":[]}}"#; 5000].join(",");
    let program =
        format!(r#"[{{"scope":[0,0],"frame":{{"len":{},"size":0}},"ops":[{encoders}]}}]"#, empty.len());
    assert_eq!(run(&base, &program, &empty, 60 << 20, &tight), Some("recipe-too-much-work"));
    let stream = deflated(b"");
    let views = vec![format!("[0,{},0]", stream.len()); 5000].join(",");
    let program = format!(
        r#"[{{"scope":[0,0],"views":[{views}],"frame":{{"len":{},"size":0}},"ops":[]}}]"#,
        empty.len()
    );
    assert_eq!(run(&stream, &program, &empty, 0, &tight), Some("recipe-too-much-work"));
    // The whole base as a prefix, again and again.
    let again =
        vec![format!(r#"{{"scope":[0,1048576],"frame":{{"len":{},"size":0}},"ops":[]}}"#, empty.len()); 200];
    let program = format!("[{}]", again.join(","));
    assert_eq!(run(&base, &program, &empty.repeat(200), 0, &tight), Some("recipe-too-much-work"));
}

/// A base, a target with a recipe that uses everything, and the recipe.
fn example() -> (Vec<u8>, Vec<u8>, Plan) {
    let text: Vec<u8> =
        (0..20_000_u32).flat_map(|n| format!("{} ", n.wrapping_mul(n) % 7919).into_bytes()).collect();
    let mut edited = text.clone();
    edited.splice(5_000..5_010, *b"an edit");
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let base = [&head[..], &zlib_6(&text), b"trailer."].concat();
    let target = [&head[..], &zlib_6(&edited), b"changed."].concat();
    let plan = plan(&base, &target, Level::Deflate, &limits()).unwrap().unwrap();
    assert_eq!(plan.level, Level::Deflate);
    (base, target, plan)
}

/// What zlib writes at level 6, by a recipe.
fn zlib_6(plain: &[u8]) -> Vec<u8> {
    let frame = pack(plain);
    let ops = format!(r#"{{"deflate":{{"as":"zlib-6-8","ops":[{{"data":{}}}]}}}}"#, plain.len());
    let program = format!(
        r#"[{{"scope":[0,0],"frame":{{"len":{},"size":{}}},"ops":[{ops}]}}]"#,
        frame.len(),
        plain.len()
    );
    let packed = pack(program.as_bytes());
    let (len, size) = (packed.len(), program.len());
    let text = format!(r#"{{"v":1,"base":0,"output":9999999,"program":{{"len":{len},"size":{size}}}}}"#);
    let mut out = Vec::new();
    let payload = [packed.as_slice(), &frame].concat();
    // Promises too much, so it fails at the end, when everything is written.
    Recipe::from_json(&text).unwrap().execute(b"", &payload, &limits(), &mut out).unwrap_err();
    out
}

/// Refuses to take more than it was promised.
struct Bounded(u64);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len() as u64).expect("more output than declared");
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn changing_any_part_of_a_payload_never_panics_nor_gives_more_than_was_declared() {
    let (base, target, plan) = example();
    let mut failed = 0;
    for at in 0..plan.payload.len() {
        for change in [1, 0x80, 0xff] {
            let mut payload = plan.payload.clone();
            payload[at] ^= change;
            let mut out = Bounded(target.len() as u64);
            failed += u32::from(plan.recipe.execute(&base, &payload, &limits(), &mut out).is_err());
        }
    }
    assert!(failed > 50, "most changes are noticed: {failed}");
}

fn op() -> impl Strategy<Value = String> {
    let number = prop_oneof![0..2000_u64, any::<u64>(), Just(0), Just(u64::MAX)];
    let skip = prop_oneof![-2000..2000_i64, any::<i64>()];
    let leaf = prop_oneof![
        number.clone().prop_map(|n| format!(r#"{{"data":{n}}}"#)),
        (skip, number).prop_map(|(s, n)| format!(r#"{{"copy":[{s},{n}]}}"#)),
    ];
    leaf.prop_recursive(5, 20, 4, |inner| {
        let name = prop::sample::select(vec!["zlib-6-8", "node-9-8", "zlib-1-8", "zlib-0-8"]);
        (name, prop::collection::vec(inner, 0..4))
            .prop_map(|(name, ops)| format!(r#"{{"deflate":{{"as":"{name}","ops":[{}]}}}}"#, ops.join(",")))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_edits_of_random_text_are_rebuilt_exactly(
        words in prop::collection::vec("[a-z]{1,9}", 200..600),
        edits in prop::collection::vec((any::<prop::sample::Index>(), "[A-Z]{0,20}", 0..30_usize), 0..12),
    ) {
        let old = words.join(" ").repeat(4).into_bytes();
        let mut new = old.clone();
        for (at, text, remove) in edits {
            let at = at.index(new.len());
            let end = (at + remove).min(new.len());
            new.splice(at..end, text.into_bytes());
        }
        let (old_file, new_file) = (zlib_6(&old), zlib_6(&new));
        let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        for (base, target) in [
            (old.clone(), new.clone()),
            ([&head[..], &old_file].concat(), [&head[..], &new_file].concat()),
        ] {
            if let Some(plan) = plan(&base, &target, Level::Deflate, &limits()).unwrap() {
                let mut out = Vec::new();
                plan.recipe.execute(&base, &plan.payload, &limits(), &mut out).unwrap();
                prop_assert!(out == target);
                prop_assert!(plan.payload.len() < target.len());
            }
        }
    }

    #[test]
    fn random_programs_end_with_a_code_of_their_own(
        ops in prop::collection::vec(op(), 0..6),
        view in prop::option::of((0..700_u64, 0..700_u64, 0..9000_u64)),
        size in 0..3000_usize,
    ) {
        let stream = deflated(&[b"plain text ".repeat(700), vec![9; 100]].concat());
        let base = [vec![1; 300], stream.clone(), vec![2; 300]].concat();
        let view = view.unwrap_or((300, stream.len() as u64, 7800));
        let frame = pack(&vec![5; size]);
        let program = format!(
            r#"[{{"scope":[0,300],"views":[[{},{},{}]],"frame":{{"len":{},"size":{size}}},"ops":[{}]}}]"#,
            view.0, view.1, view.2, frame.len(), ops.join(",")
        );
        let code = run(&base, &program, &frame, 5000, &limits());
        let known = [
            None, Some("recipe-bad"), Some("recipe-too-large"),
            Some("recipe-too-much-work"), Some("recipe-unknown-encoder"),
        ];
        prop_assert!(known.contains(&code), "{code:?}");
    }

    #[test]
    fn random_bytes_are_not_a_recipe(text in ".{0,60}", payload in prop::collection::vec(any::<u8>(), 0..80)) {
        prop_assert_eq!(Recipe::from_json(&text).map_err(|e| e.code()).unwrap_err(), "recipe-bad");
        let recipe = r#"{"v":1,"base":0,"output":5,"program":{"len":40,"size":50}}"#;
        let recipe = Recipe::from_json(recipe).unwrap();
        prop_assert!(recipe.execute(b"", &payload, &limits(), &mut Vec::new()).is_err());
    }
}
