//! Bar charts as SVG.

use std::fmt::Write;

/// Bars under a heading.
pub struct Group {
    /// The heading.
    pub heading: String,
    /// Name and value of each bar; values are above 0.
    pub bars: Vec<(String, f64)>,
}

const WIDTH: f64 = 760.0;
const LABEL: f64 = 130.0;
/// The width of a letter of a label, about.
const LETTER: f64 = 6.3;
const VALUE: f64 = 70.0;
const BAR: f64 = 16.0;
const STEP: f64 = 21.0;
const HEADING: f64 = 30.0;

/// How long a bar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// As its value.
    Linear,
    /// As the logarithm of its value: each thin line is ten times the one before.
    Logarithmic,
}

/// A chart of bars, at least one. `marked` is what the names of the bars that stand out begin with.
pub fn bars(title: &str, groups: &[Group], marked: &str, scale: Scale) -> String {
    let values = || groups.iter().flat_map(|group| &group.bars).map(|bar| bar.1).filter(|value| *value > 0.0);
    let (least, most, step) = span(values(), scale);
    let longest = groups.iter().flat_map(|group| &group.bars).map(|bar| bar.0.chars().count()).max().unwrap_or(0);
    let label = LABEL.max(longest as f64 * LETTER);
    let measure = |value: f64| if scale == Scale::Linear { value } else { value.max(1e-9).log10() };
    let place = |value: f64| label + (WIDTH - label - VALUE) * ((measure(value) - least) / (most - least)).max(0.0);
    let rows: usize = groups.iter().map(|group| group.bars.len()).sum();
    let height = 40.0 + HEADING * groups.len() as f64 + STEP * rows as f64 + 16.0;
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"10\" y=\"24\" font-size=\"15\" font-weight=\"bold\">{}</text>\n",
        escaped(title)
    );
    let mut line = least;
    while line <= most {
        let x = place(if scale == Scale::Linear { line } else { 10f64.powf(line) });
        let _ = writeln!(svg, "<line x1=\"{x:.1}\" y1=\"36\" x2=\"{x:.1}\" y2=\"{height}\" stroke=\"#e4e4e4\"/>");
        line += step;
    }
    let mut y = 40.0;
    for group in groups {
        let _ = writeln!(
            svg,
            "<text x=\"10\" y=\"{:.1}\" font-weight=\"bold\" fill=\"#333333\">{}</text>",
            y + HEADING - 10.0,
            escaped(&group.heading)
        );
        y += HEADING;
        for (name, value) in &group.bars {
            let (fill, end, middle) =
                (if name.starts_with(marked) { "#d1495b" } else { "#7a9cb8" }, place(*value), y + BAR - 4.0);
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text>\
                 <rect x=\"{label}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{fill}\"/>\
                 <text x=\"{:.1}\" y=\"{middle:.1}\">{}</text>",
                label - 6.0,
                escaped(name),
                (end - label).max(1.0),
                end.max(label + 1.0) + 5.0,
                short(*value)
            );
            y += STEP;
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Three digits or so.
pub fn short(number: f64) -> String {
    match number {
        number if number.is_nan() => String::new(),
        number if number >= 99_950.0 => format!("{:.0}k", number / 1e3),
        number if number >= 9_995.0 => format!("{:.1}k", number / 1e3),
        number if number >= 99.95 => format!("{number:.0}"),
        number if number >= 9.995 => format!("{number:.1}"),
        number => format!("{number:.2}"),
    }
}

/// Where the bars begin and the chart ends, as they are measured, and how far its lines are apart.
fn span(values: impl Iterator<Item = f64>, scale: Scale) -> (f64, f64, f64) {
    let (least, most) =
        values.fold((f64::INFINITY, 0.0f64), |(least, most), value| (least.min(value), most.max(value)));
    match scale {
        _ if !least.is_finite() => (0.0, 1.0, 1.0),
        Scale::Linear => {
            let step = 10f64.powf(most.log10().floor());
            (0.0, (most / step).ceil() * step, step)
        }
        Scale::Logarithmic => {
            let least = least.log10().floor();
            (least, most.log10().ceil().max(least + 1.0), 1.0)
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_of_twice_the_value_is_twice_as_long_on_a_linear_scale() {
        let bars_of = [1.0, 2.0, 4.0].map(|value| (format!("of {value}"), value));
        let svg = bars("t", &[Group { heading: String::new(), bars: bars_of.to_vec() }], "none", Scale::Linear);
        let width =
            |bar: &str| bar.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse::<f64>().unwrap();
        let widths: Vec<f64> = svg.split("<rect x=").skip(1).map(width).collect();
        let [one, two, four] = widths[..] else { panic!("{svg}") };
        assert!((two - 2.0 * one).abs() < 0.2 && (four - 4.0 * one).abs() < 0.4, "{widths:?}");
    }

    #[test]
    fn a_chart_without_bars_is_a_chart() {
        assert!(bars("title", &[], "", Scale::Logarithmic).ends_with("</svg>\n"));
    }

    #[test]
    fn a_bar_that_is_ten_times_as_much_is_one_step_longer() {
        let group = |values: &[f64]| Group {
            heading: "a < b & c".to_owned(),
            bars: values.iter().map(|value| (format!("of {value}"), *value)).collect(),
        };
        let svg = bars("title", &[group(&[1.0, 10.0, 100.0])], "of 100", Scale::Logarithmic);
        let widths: Vec<f64> = svg
            .split("<rect x=")
            .skip(1)
            .map(|bar| bar.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        let [one, ten, hundred] = widths[..] else { panic!("{svg}") };
        assert!((one - 1.0).abs() < 0.2 && ((hundred - ten) - ten).abs() < 0.2, "{widths:?}");
        assert!(svg.contains("a &lt; b &amp; c") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("#d1495b").count(), 1);
    }
}
