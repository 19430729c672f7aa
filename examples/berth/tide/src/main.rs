//! The height of the water between two tides, by the rule of twelfths.
//!
//! `tide LOW HIGH HOURS`: heights in metres, hours since low water (0 to 6). Readings are typed on all
//! sorts of keyboards, so full-width digits and decimal commas are taken as well.

use std::process::ExitCode;

use unicode_normalization::UnicodeNormalization;

/// How many twelfths of the range have risen after each hour.
const RISEN: [f64; 7] = [0.0, 1.0, 3.0, 6.0, 9.0, 11.0, 12.0];

/// A number as somebody typed it.
fn number(text: &str) -> Result<f64, String> {
    let plain: String = text.trim().nfkc().map(|c| if c == ',' { '.' } else { c }).collect();
    match plain.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(format!("{text:?} is not a number")),
    }
}

/// The height of the water, in the unit of `low` and `high`, between full hours in a straight line.
fn height(low: f64, high: f64, hours: f64) -> Result<f64, String> {
    if !(0.0..=6.0).contains(&hours) {
        return Err(format!("{hours} is not between 0 and 6 hours"));
    }
    let hour = hours.floor() as usize;
    let next = (hour + 1).min(6);
    let twelfths = RISEN[hour] + (RISEN[next] - RISEN[hour]) * hours.fract();
    Ok(low + (high - low) * twelfths / 12.0)
}

fn run(args: &[String]) -> Result<String, String> {
    let [low, high, hours] = args else {
        return Err("say: tide LOW HIGH HOURS".to_owned());
    };
    Ok(format!("{:.2} m", height(number(low)?, number(high)?, number(hours)?)?))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("tide: {why}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tide(args: &[&str]) -> Result<String, String> {
        run(&args.iter().map(|s| s.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn half_of_the_range_has_risen_after_three_hours() {
        assert_eq!(tide(&["0.4", "3.2", "3"]), Ok("1.80 m".to_owned()));
    }

    #[test]
    fn full_width_digits_and_decimal_commas_are_numbers() {
        assert_eq!(tide(&["０,４", "３，２", "６"]), Ok("3.20 m".to_owned()));
    }

    #[test]
    fn a_seventh_hour_is_refused() {
        assert!(tide(&["0", "1", "7"]).unwrap_err().contains("between 0 and 6"));
    }
}
