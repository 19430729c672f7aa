//! A stock reader of QR codes reads what we draw.

use std::{
    path::Path,
    process::{Command, Stdio},
};

fn run(program: &str, args: &[&str], dir: &Path) -> Option<(bool, Vec<u8>)> {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).stdin(Stdio::null()).stderr(Stdio::null());
    command.output().ok().map(|out| (out.status.success(), out.stdout))
}

#[test]
fn zbarimg_reads_the_image_of_a_page() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    for program in ["zbarimg", "rsvg-convert"] {
        if run(program, &["--version"], dir).is_none() {
            println!("skipped: zbarimg reads the image of a page: {program} is not installed");
            return;
        }
    }
    for len in [1, 44, 300, 1500, cofferdam_trust::qr::MAX_BYTES] {
        let data: Vec<u8> = (0..len).map(|n| (n * 131 % 256) as u8).collect();
        std::fs::write(dir.join("code.svg"), cofferdam_trust::qr::svg(&data).unwrap()).unwrap();
        let drawn = run("rsvg-convert", &["--width", "1480", "-o", "code.png", "code.svg"], dir);
        assert!(drawn.unwrap().0, "{len}");
        let read = run("zbarimg", &["-q", "--raw", "-Sbinary", "code.png"], dir);
        assert!(read == Some((true, data)), "{len}");
    }
}
