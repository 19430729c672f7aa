//! Small files that would cost much are refused, or cost little.

use cofferdam_pipeline::{Source, load};

struct File(String);

impl Source for File {
    fn read(&self, path: &str) -> Option<String> {
        (path == ".gitlab-ci.yml").then(|| self.0.clone())
    }
}

fn mistakes(text: String) -> Vec<String> {
    let loaded = load(&File(text), ".gitlab-ci.yml");
    loaded.err().unwrap_or_default().into_iter().map(|d| d.message).collect()
}

/// Ten short lines that led to 10^8 merges before each base was merged once.
#[test]
fn many_paths_to_one_base_cost_one_merge_each() {
    let mut text = String::from(".t0:\n  script: [x]\n");
    for level in 1..=8 {
        let below = vec![format!(".t{}", level - 1); 10].join(", ");
        text.push_str(&format!(".t{level}:\n  extends: [{below}]\n"));
    }
    text.push_str("job:\n  extends: .t8\n");
    assert_eq!(mistakes(text), Vec::<String>::new());
}

#[test]
fn a_chain_that_is_too_deep_and_a_circle_are_named() {
    let mut text = String::from(".t0:\n  script: [x]\n");
    for level in 1..=11 {
        text.push_str(&format!(".t{level}:\n  extends: .t{}\n", level - 1));
    }
    text.push_str("job:\n  extends: .t11\n");
    assert!(mistakes(text).iter().any(|m| m.contains("deeper than 10 levels")));
    let circle = ".a:\n  extends: .b\n.b:\n  extends: .a\njob:\n  extends: .a\n  script: [x]\n";
    assert!(mistakes(circle.into()).iter().any(|m| m.contains("circle")));
}

#[test]
fn a_template_that_is_copied_into_thousands_of_jobs_is_bounded() {
    let mut text = String::from(".big:\n  script: [x]\n  variables:\n");
    for n in 0..500 {
        text.push_str(&format!("    V{n}: x\n"));
    }
    for n in 0..4000 {
        text.push_str(&format!("job{n}: {{extends: .big}}\n"));
    }
    assert!(mistakes(text).iter().any(|m| m.contains("more than 200000 values")));
}
