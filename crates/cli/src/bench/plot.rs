//! Line plots as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 240.0;
/// Room for the labels of the axes.
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 30.0;
const TOP: f64 = 28.0;
const RIGHT: f64 = 30.0;

/// What the vertical axis shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scale {
    /// From zero to the largest value.
    FromZero,
    /// From the smallest value to the largest, by powers.
    Logarithmic,
}

/// One line over a horizontal axis.
#[derive(Clone, Debug)]
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    pub(super) points: Vec<(f64, f64)>,
    /// Marks on the horizontal axis.
    pub(super) ticks: Vec<(f64, String)>,
    pub(super) scale: Scale,
}

impl Plot<'_> {
    /// Draws it; nothing is drawn of fewer than two points.
    pub(super) fn to_svg(&self) -> String {
        let mut svg = String::new();
        if self.points.len() < 2 {
            return svg;
        }
        let horizontal = Axis::new(self.points.iter().map(|point| point.0));
        let vertical = match self.scale {
            Scale::FromZero => Axis::new(self.values().chain([0.0])),
            Scale::Logarithmic => Axis::new(self.values()),
        };
        let x = |value: f64| LEFT + horizontal.share(value) * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| HEIGHT - BOTTOM - vertical.share(value) * (HEIGHT - TOP - BOTTOM);
        let _ = write!(
            svg,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\">\
             <title>{0}</title><text x=\"{LEFT}\" y=\"16\">{0}</text>",
            escape(self.title)
        );
        for part in 0..=4 {
            let value = vertical.at(f64::from(part) / 4.0);
            let label = match self.scale {
                Scale::FromZero => short(value),
                Scale::Logarithmic => short(10_f64.powf(value)),
            };
            let _ = write!(
                svg,
                "<path d=\"M{LEFT} {0:.1}H{1}\" stroke=\"#8884\"/>\
                 <text x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\">{label}</text>",
                y(value),
                WIDTH - RIGHT,
                LEFT - 6.0,
                y(value) + 4.0
            );
        }
        for (at, label) in &self.ticks {
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                x(*at),
                HEIGHT - 8.0,
                escape(label)
            );
        }
        let line = self.points.iter().map(|point| point.0).zip(self.values());
        let path: Vec<_> = line
            .map(|(at, value)| format!("{:.1} {:.1}", x(at), y(value)))
            .collect();
        let _ = write!(
            svg,
            "<path d=\"M{}\" fill=\"none\" stroke=\"#2a78c2\" stroke-width=\"2\"/></svg>",
            path.join("L")
        );
        svg
    }

    /// Returns the values as the vertical axis has them.
    fn values(&self) -> impl Iterator<Item = f64> {
        self.points.iter().map(|(_, value)| match self.scale {
            Scale::FromZero => *value,
            // What takes no time at all has no logarithm.
            Scale::Logarithmic => value.max(1e-3).log10(),
        })
    }
}

/// What an axis spans.
#[derive(Clone, Copy, Debug)]
struct Axis {
    from: f64,
    to: f64,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64>) -> Self {
        let (mut from, mut to) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            from = from.min(value);
            to = to.max(value);
        }
        // A line that stays at one value is drawn all the same.
        let to = if to > from { to } else { from + 1.0 };
        Self { from, to }
    }

    fn share(self, value: f64) -> f64 {
        (value - self.from) / (self.to - self.from)
    }

    fn at(self, share: f64) -> f64 {
        self.from + share * (self.to - self.from)
    }
}

/// Writes a number in few characters.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.1} M", value / 1e6),
        size if size >= 1e4 => format!("{:.0} k", value / 1e3),
        size if size >= 100.0 => format!("{value:.0}"),
        _ => format!("{value:.1}"),
    }
}

/// Escapes text for HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: &[(f64, f64)], scale: Scale) -> String {
        Plot {
            title: "a < b",
            points: points.to_vec(),
            ticks: vec![(1.0, "one".into())],
            scale,
        }
        .to_svg()
    }

    #[test]
    fn a_line_goes_from_corner_to_corner() {
        let svg = plot(&[(0.0, 0.0), (1.0, 50.0), (2.0, 100.0)], Scale::FromZero);
        assert!(svg.contains("M70.0 210.0L420.0 119.0L770.0 28.0"), "{svg}");
        assert!(svg.contains("a &lt; b"), "{svg}");
    }

    #[test]
    fn powers_are_as_far_apart_as_one_another() {
        let svg = plot(&[(0.0, 1.0), (1.0, 10.0), (2.0, 100.0)], Scale::Logarithmic);
        assert!(svg.contains("M70.0 210.0L420.0 119.0L770.0 28.0"), "{svg}");
    }

    #[test]
    fn odd_data_makes_no_odd_numbers() {
        for points in [
            &[(0.0, 0.0), (0.0, 0.0)][..],
            &[(1.0, 5.0), (2.0, 5.0)],
            &[(0.0, -1.0), (1.0, 0.0)],
        ] {
            for scale in [Scale::FromZero, Scale::Logarithmic] {
                let svg = plot(points, scale);
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
        assert_eq!(plot(&[(0.0, 0.0)], Scale::FromZero), "");
    }
}
