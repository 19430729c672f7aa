//! What a transfer does with releases of packages: plan on one side, carry out on the other.

use std::io::Write;

use cofferdam_delta::{Level, Limits, Plan, Recipe, plan};

fn limits() -> Limits {
    Limits::default()
}

/// Text that compresses like source code, different for each seed.
fn source(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut text = String::new();
    while text.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (name, value) = (state >> 20, state >> 11);
        text += &format!("def f{name}(self, a{}):\n    return self.x{} + {value}\n", name % 7, name % 31);
    }
    text.truncate(len);
    text.into_bytes()
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A wheel: members deflated by an encoder that nobody can repeat here (flate2's own), or stored.
fn wheel(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    for (name, content) in members {
        zip.start_file(name.as_str(), options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A gzip file around a stream.
fn gzip(stream: &[u8]) -> Vec<u8> {
    [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255][..], stream, &[1, 2, 3, 4, 5, 6, 7, 8]].concat()
}

fn tarball(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn rebuild(plan: &Plan, base: &[u8]) -> Vec<u8> {
    // The receiver has only the text and the payload.
    let recipe = Recipe::from_json(&plan.recipe.to_json().unwrap()).unwrap();
    let mut out = Vec::new();
    recipe.execute(base, &plan.payload, &limits(), &mut out).unwrap();
    assert_eq!(out.len() as u64, recipe.declared_output());
    out
}

#[test]
fn a_new_wheel_is_rebuilt_from_the_old_one_and_the_changed_member() {
    let member = |n: u32| (format!("pkg/m{n}.py"), source(9_000, n));
    let old: Vec<_> = (0..40).map(member).collect();
    let mut new = old.clone();
    new[17].1.splice(400..420, b"# a fix\n".to_vec());
    let (old, new) = (wheel(&old), wheel(&new));
    let plan = plan(&old, &new, Level::Deflate, &limits()).unwrap().unwrap();
    assert!(plan.payload.len() < new.len() / 10, "{} of {}", plan.payload.len(), new.len());
    assert_eq!(rebuild(&plan, &old), new);
}

#[test]
fn a_recipe_stays_short_however_long_its_program_is() {
    let member = |n: u32| (format!("pkg/m{n}.py"), source(300 + n as usize, n));
    let old: Vec<_> = (0..900).map(member).collect();
    let new: Vec<_> = (0..900).filter(|n| n % 3 != 0).map(member).collect();
    let (old, new) = (wheel(&old), wheel(&new));
    let plan = plan(&old, &new, Level::Deflate, &limits()).unwrap().unwrap();
    assert!(plan.recipe.to_json().unwrap().len() < 120);
    assert_eq!(rebuild(&plan, &old), new);
}

#[test]
fn plain_files_that_share_ranges_are_copied_and_each_level_carries_no_more_than_the_one_before() {
    let old = [noise(300_000, 1), source(200_000, 2)].concat();
    let mut new = [&old[250_000..], &noise(2_000, 3)[..], &old[..250_000]].concat();
    for at in (0..200_000).step_by(50_000) {
        new[at] ^= 1;
    }
    let mut before = usize::MAX - 99;
    for level in [Level::Copy, Level::Prefix, Level::Deflate] {
        let plan = plan(&old, &new, level, &limits()).unwrap().unwrap();
        assert_eq!(rebuild(&plan, &old), new, "{level:?}");
        assert!(plan.payload.len() <= before + 99 && plan.payload.len() < 3_000, "{level:?}");
        assert!(plan.level <= level);
        before = plan.payload.len();
    }
}

#[test]
fn small_changes_everywhere_need_the_base_as_a_prefix() {
    let old = noise(200_000, 9);
    let mut new = old.clone();
    for at in (0..new.len()).step_by(50) {
        new[at] = new[at].wrapping_add(1);
    }
    assert!(plan(&old, &new, Level::Copy, &limits()).unwrap().is_none(), "no range is long enough");
    let plan = plan(&old, &new, Level::Prefix, &limits()).unwrap().unwrap();
    assert_eq!(plan.level, Level::Prefix);
    assert!(plan.payload.len() < 40_000, "{}", plan.payload.len());
    assert_eq!(rebuild(&plan, &old), new);
}

/// A change at the start of a tarball changes its whole compressed stream.
#[test]
fn a_tarball_whose_every_compressed_byte_changed_travels_as_its_plain_change() {
    let body = source(400_000, 5);
    let mut edited = body.clone();
    for at in (0..390_000).rev().step_by(9_000) {
        edited.splice(at..at + 3, *b"an edit");
    }
    let old = tarball(&[("package/package.json", b"{\"version\":\"1.0.0\"}"), ("package/index.js", &body)]);
    let new = tarball(&[("package/package.json", b"{\"version\":\"1.0.1\"}"), ("package/index.js", &edited)]);
    let (old, new) = (gzip(&encode(&old, "zlib-6-8")), gzip(&encode(&new, "zlib-6-8")));
    assert!(plan(&old, &new, Level::Prefix, &limits()).unwrap().is_none());
    let plan = plan(&old, &new, Level::Deflate, &limits()).unwrap().unwrap();
    assert_eq!(plan.level, Level::Deflate);
    assert!(plan.payload.len() < 1_500, "{} of {}", plan.payload.len(), new.len());
    assert_eq!(rebuild(&plan, &old), new);
}

#[test]
fn nothing_in_common_nothing_at_all_or_too_little_gain_gives_no_plan() {
    let (old, new) = (noise(100_000, 1), noise(100_000, 2));
    let mostly_new = [&old[..15_000], &new[..85_000]].concat();
    for (base, target) in [(&old, &new), (&old, &Vec::new()), (&Vec::new(), &new), (&old, &mostly_new)] {
        assert!(plan(base, target, Level::Deflate, &limits()).unwrap().is_none());
    }
}

#[test]
fn a_plan_that_the_receiver_could_not_carry_out_is_not_offered() {
    let old = noise(500_000, 4);
    let new = [&old[..], b"and more"].concat();
    assert!(plan(&old, &new, Level::Prefix, &limits()).unwrap().is_some());
    for tight in [
        Limits { memory: 1000, ..limits() },
        Limits { output: 500_000, ..limits() },
        Limits { work: 400_000, ..limits() },
    ] {
        assert!(plan(&old, &new, Level::Prefix, &tight).unwrap().is_none(), "{tight:?}");
    }
}

/// Encodes by a recipe, which is the only way to an encoder from outside.
fn encode(plain: &[u8], encoder: &str) -> Vec<u8> {
    let data = zstd::bulk::compress(plain, 1).unwrap();
    let program = format!(
        r#"[{{"scope":[0,0],"frame":{{"len":{},"size":{}}},"ops":[{{"deflate":{{"as":"{encoder}","ops":[{{"data":{}}}]}}}}]}}]"#,
        data.len(),
        plain.len(),
        plain.len()
    );
    let packed = zstd::bulk::compress(program.as_bytes(), 1).unwrap();
    let payload = [packed.as_slice(), &data].concat();
    let run = |output: usize| {
        let text = format!(
            r#"{{"v":1,"base":0,"output":{output},"program":{{"len":{},"size":{}}}}}"#,
            packed.len(),
            program.len()
        );
        let mut out = Vec::new();
        let done = Recipe::from_json(&text).unwrap().execute(b"", &payload, &limits(), &mut out);
        (done, out)
    };
    // The length is not known before: a first run, which promises too much, tells it.
    let (done, out) = run(1 << 29);
    assert_eq!(done.unwrap_err().code(), "recipe-bad");
    let (done, again) = run(out.len());
    done.unwrap();
    assert_eq!(again, out);
    out
}

#[test]
fn the_encoders_write_what_zlib_and_node_wrote() {
    use sha2::{Digest, Sha256};
    // Made once by the encoders of the field from the same text: lengths and digests of the streams.
    let plain = [source(150_000, 11), noise(3_000, 12), source(150_000, 11), vec![b'a'; 40_000]].concat();
    let expected = include_str!("encoders.txt");
    for line in expected.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        let (name, digest) = (words.next().unwrap(), words.next().unwrap());
        let stream = encode(&plain, name);
        let found: String = Sha256::digest(&stream).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, digest, "{name}");
    }
    assert!(expected.lines().count() > 20);
}
