//! The few shapes that a timeline is made of, as SVG.

use std::fmt::Write;

/// Which end of a text stands at its place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture under way.
pub(super) struct Svg(String);

const FONT: &str = "DejaVu Sans, Verdana, Arial, sans-serif";

impl Svg {
    pub(super) fn new() -> Self {
        Self(String::new())
    }

    fn add(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _infallible = writeln!(self.0, "{line}");
    }

    pub(super) fn text(
        &mut self,
        x: f64,
        y: f64,
        size: u32,
        colour: &str,
        anchor: Anchor,
        text: &str,
    ) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        self.add(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{text}</text>"#
        ));
    }

    pub(super) fn bold(&mut self, x: f64, y: f64, size: u32, colour: &str, text: &str) {
        let text = escaped(text);
        self.add(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}" font-weight="bold" fill="{colour}">{text}</text>"#
        ));
    }

    pub(super) fn line(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, colour: &str) {
        self.add(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}"/>"#
        ));
    }

    /// A box with a frame; `says` is shown where the pointer rests on it.
    #[expect(clippy::too_many_arguments, reason = "a box has that many properties")]
    pub(super) fn bar(
        &mut self,
        x: f64,
        y: f64,
        width: f64,
        height: f64,
        fill: &str,
        frame: &str,
        says: &str,
    ) {
        // The frame lies within the box, so that boxes side by side do not touch.
        let (inner_x, inner_y) = (x + 0.5, y + 0.5);
        let (width, height) = ((width - 1.0).max(0.5), (height - 1.0).max(0.5));
        let tip = tip(says);
        self.add(format_args!(
            r#"<rect x="{inner_x:.1}" y="{inner_y:.1}" width="{width:.1}" height="{height:.1}" fill="{fill}" stroke="{frame}">{tip}</rect>"#
        ));
    }

    pub(super) fn hatched(&mut self, x: f64, y: f64, width: f64, height: f64, says: &str) {
        let tip = tip(says);
        self.add(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="url(#gap)" stroke="{}">{tip}</rect>"#,
            super::GAP
        ));
    }

    pub(super) fn finish(self, width: f64, height: f64) -> String {
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}" viewBox="0 0 {width:.0} {height:.0}" font-family="{FONT}">
<defs><pattern id="gap" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" fill="#fff5f5"/><rect width="2" height="6" fill="{}"/></pattern></defs>
<rect width="100%" height="100%" fill="#ffffff"/>
{}</svg>
"##,
            super::GAP,
            self.0
        )
    }
}

fn tip(says: &str) -> String {
    match says {
        "" => String::new(),
        says => format!("<title>{}</title>", escaped(says)),
    }
}

/// Names are the users': none of them ends a tag.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_ends_a_tag() {
        assert_eq!(escaped("a<b>&\"\u{1}c"), "a&lt;b&gt;&amp;&quot;\u{fffd}c");
    }
}
