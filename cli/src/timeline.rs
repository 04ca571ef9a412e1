//! The layers of a backup drawn against time, with what they can restore: an SVG picture as a text.
//!
//! Pure: what is to be shown goes in, the picture comes out. Its coordinates are pixels, y grows downwards.

mod axis;
mod svg;

use std::collections::BTreeMap;

use icecore_archive::plan::Restorable;
use icecore_archive::{LayerEntry, LayerKind};
use icecore_mvcc::Timestamp;

use crate::output::{human_bytes, plural};
use axis::Axis;
use svg::{Anchor, Svg};

/// What is drawn.
pub(crate) struct Timeline {
    pub(crate) title: String,
    pub(crate) layers: Vec<Bar>,
    pub(crate) restorable: Vec<Restorable>,
    pub(crate) protected: Vec<Protected>,
}

/// A layer.
pub(crate) struct Bar {
    /// What is shown of it where the pointer rests.
    pub(crate) label: String,
    pub(crate) kind: LayerKind,
    /// Where it begins: for a full its history, or its end.
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
    /// Whether times within it can be restored, at least of some keyspace.
    pub(crate) history: bool,
}

/// A record that keeps history from garbage collection.
pub(crate) struct Protected {
    pub(crate) label: String,
    pub(crate) since: Timestamp,
}

impl From<&LayerEntry> for Bar {
    fn from(entry: &LayerEntry) -> Self {
        let kind = match entry.path.incremental() {
            None => LayerKind::Full,
            Some(_) => LayerKind::Incremental,
        };
        let history = entry.history_from.filter(|from| *from < entry.end);
        Self {
            label: format!(
                "{}: until {}, {}",
                entry.path,
                entry.end,
                human_bytes(entry.stored_bytes)
            ),
            kind,
            from: match kind {
                LayerKind::Full => history.unwrap_or(entry.end),
                LayerKind::Incremental => entry.start,
            },
            until: entry.end,
            history: history.is_some(),
        }
    }
}

const WIDTH: f64 = 1200.0;
/// Where the plot begins and ends; names stand to the left of it.
const LEFT: f64 = 240.0;
const RIGHT: f64 = 1160.0;
/// The narrowest bar that can be seen.
const BAR_MIN: f64 = 2.5;
/// What stays free between two bars of a lane.
const BAR_GAP: f64 = 1.0;
const ROW: f64 = 26.0;
/// Letters of a name that fit to the left of the plot.
const NAME_LETTERS: usize = 27;

const INK: &str = "#1f2933";
const FAINT: &str = "#52606d";
const GRID: &str = "#e4e7eb";
const FULL: &str = "#12385f";
const INCREMENTAL: &str = "#3b82c4";
const RESTORABLE: &str = "#2f855a";
const GAP: &str = "#c53030";
const PROTECTED: &str = "#805ad5";

/// Draws it.
pub(crate) fn draw(timeline: &Timeline) -> String {
    let axis = Axis::new(times(timeline), LEFT, RIGHT);
    let lanes = lanes(&timeline.layers, &axis);
    let lane_count = lanes.iter().max().map_or(1, |lane| lane + 1);
    let lane = if lane_count <= 8 { 22.0 } else { 9.0 };
    let keyspaces = by_keyspace(&timeline.restorable);

    let mut svg = Svg::new();
    let top = 98.0;
    let layers_end = top + lane * lane_count as f64;
    let restorable_top = layers_end + 40.0;
    let restorable_end = restorable_top + ROW * keyspaces.len().max(1) as f64;
    let protected_top = restorable_end + 40.0;
    let bottom = match timeline.protected.len() {
        0 => restorable_end,
        records => protected_top + ROW * records as f64,
    };
    heading(&mut svg, timeline, &axis);
    grid(&mut svg, &axis, top - 6.0, bottom + 6.0);
    section(&mut svg, "Layers", top);
    gaps(&mut svg, &axis, timeline, top - 4.0, layers_end + 2.0);
    for (bar, number) in timeline.layers.iter().zip(&lanes) {
        layer(
            &mut svg,
            &axis,
            bar,
            top + lane * *number as f64,
            lane - 4.0,
        );
    }
    section(&mut svg, "Restorable", restorable_top);
    for (row, (name, ranges)) in keyspaces.iter().enumerate() {
        let y = restorable_top + ROW * row as f64;
        svg.text(
            LEFT - 14.0,
            y + 16.0,
            13,
            INK,
            Anchor::End,
            &shortened(name),
        );
        for range in ranges {
            restorable_range(&mut svg, &axis, range, y + 5.0);
        }
    }
    if !timeline.protected.is_empty() {
        section(&mut svg, "Protected from garbage collection", protected_top);
    }
    for (row, record) in timeline.protected.iter().enumerate() {
        protection(&mut svg, &axis, record, protected_top + ROW * row as f64);
    }
    let legend_y = bottom + 62.0;
    legend(&mut svg, timeline, legend_y);
    svg.finish(WIDTH, legend_y + 28.0)
}

/// Every time that must be on the axis.
fn times(timeline: &Timeline) -> impl Iterator<Item = Timestamp> {
    let layers = timeline.layers.iter();
    let restorable = timeline.restorable.iter();
    layers
        .flat_map(|bar| [bar.from, bar.until])
        .chain(restorable.flat_map(|range| [range.from, range.until]))
}

/// The lane of each bar: the first in which it touches no other.
fn lanes(layers: &[Bar], axis: &Axis) -> Vec<usize> {
    let mut order: Vec<usize> = (0..layers.len()).collect();
    order.sort_by_key(|&at| layers.get(at).map(|bar| (bar.from, bar.until)));
    let mut ends: Vec<f64> = Vec::new();
    let mut lanes = vec![0; layers.len()];
    for at in order {
        let Some(bar) = layers.get(at) else { continue };
        let (from, until) = span(bar, axis);
        let lane = ends.iter().position(|end| end + BAR_GAP <= from);
        let lane = lane.unwrap_or(ends.len());
        match ends.get_mut(lane) {
            Some(end) => *end = until,
            None => ends.push(until),
        }
        if let Some(slot) = lanes.get_mut(at) {
            *slot = lane;
        }
    }
    lanes
}

/// From where to where a bar is drawn. Those that follow each other leave a line free between them.
fn span(bar: &Bar, axis: &Axis) -> (f64, f64) {
    let (from, until) = (axis.x(bar.from), axis.x(bar.until));
    if bar.from == bar.until {
        return (from - BAR_MIN / 2.0, from + BAR_MIN / 2.0);
    }
    let from = from + BAR_GAP;
    (from, until.max(from + BAR_MIN))
}

fn heading(svg: &mut Svg, timeline: &Timeline, axis: &Axis) {
    svg.text(24.0, 32.0, 20, INK, Anchor::Start, &timeline.title);
    let (from, until) = axis.ends();
    let says = format!(
        "{}, {} to {} UTC",
        plural(timeline.layers.len() as u64, "layer"),
        axis::to_the_second(from),
        axis::to_the_second(until)
    );
    svg.text(24.0, 54.0, 13, FAINT, Anchor::Start, &says);
}

fn section(svg: &mut Svg, name: &str, top: f64) {
    svg.bold(24.0, top - 12.0, 13, FAINT, name);
}

fn grid(svg: &mut Svg, axis: &Axis, top: f64, bottom: f64) {
    svg.line(LEFT, bottom, RIGHT, bottom, FAINT);
    let mut date = String::new();
    for tick in axis.ticks() {
        let x = axis.x(tick);
        svg.line(x, top, x, bottom, GRID);
        svg.line(x, bottom, x, bottom + 5.0, FAINT);
        let (day, clock) = axis.label(tick);
        svg.text(x, bottom + 19.0, 12, INK, Anchor::Middle, &clock);
        if day != date {
            svg.text(x, bottom + 34.0, 12, FAINT, Anchor::Middle, &day);
            date = day;
        }
    }
}

/// Times that no layer covers, between layers.
fn gaps(svg: &mut Svg, axis: &Axis, timeline: &Timeline, top: f64, bottom: f64) {
    let mut bars: Vec<&Bar> = timeline.layers.iter().collect();
    bars.sort_by_key(|bar| bar.from);
    let mut reached = bars.first().map(|bar| bar.until);
    for bar in bars {
        if let Some(end) = reached.filter(|end| *end < bar.from) {
            let (from, until) = (axis.x(end), axis.x(bar.from));
            let says = format!("no layer covers {end} to {}", bar.from);
            svg.hatched(from, top, (until - from).max(2.0), bottom - top, &says);
        }
        reached = reached.max(Some(bar.until));
    }
}

fn layer(svg: &mut Svg, axis: &Axis, bar: &Bar, top: f64, height: f64) {
    let (from, until) = span(bar, axis);
    let colour = match bar.kind {
        LayerKind::Full => FULL,
        LayerKind::Incremental => INCREMENTAL,
    };
    let point = bar.from == bar.until;
    let fill = if bar.history || point {
        colour
    } else {
        "#ffffff"
    };
    svg.bar(from, top, until - from, height, fill, colour, &bar.label);
    if !bar.history && !point {
        // Its end alone can be restored.
        let end = (until - 2.0).max(from);
        svg.bar(end, top, until - end, height, colour, colour, &bar.label);
    }
}

fn restorable_range(svg: &mut Svg, axis: &Axis, range: &Restorable, top: f64) {
    let (from, until) = (axis.x(range.from), axis.x(range.until));
    let says = match range.from == range.until {
        true => format!("{}: {} alone", range.keyspace, range.from),
        false => format!("{}: {} to {}", range.keyspace, range.from, range.until),
    };
    if range.from == range.until {
        svg.bar(from - 1.0, top, 2.0, 16.0, RESTORABLE, RESTORABLE, &says);
    } else {
        let width = (until - from).max(2.0);
        svg.bar(from, top + 3.0, width, 10.0, RESTORABLE, RESTORABLE, &says);
    }
}

fn protection(svg: &mut Svg, axis: &Axis, record: &Protected, top: f64) {
    let name = shortened(&record.label);
    svg.text(LEFT - 14.0, top + 16.0, 13, INK, Anchor::End, &name);
    let says = format!("{}: everything since {}", record.label, record.since);
    let from = axis.x(record.since).clamp(LEFT, RIGHT - 8.0);
    svg.bar(
        from,
        top + 8.0,
        RIGHT - from,
        10.0,
        "#e9e3fa",
        PROTECTED,
        &says,
    );
    svg.bar(from, top + 5.0, 3.0, 16.0, PROTECTED, PROTECTED, &says);
}

fn legend(svg: &mut Svg, timeline: &Timeline, y: f64) {
    let mut x = 24.0;
    let mut entry = |draw: &dyn Fn(&mut Svg, f64), says: &str| {
        draw(svg, x);
        svg.text(x + 26.0, y, 12, INK, Anchor::Start, says);
        x += 26.0 + 6.6 * says.chars().count() as f64 + 22.0;
    };
    let top = y - 10.0;
    entry(
        &|svg, x| svg.bar(x, top, 18.0, 12.0, FULL, FULL, ""),
        "full",
    );
    entry(
        &|svg, x| svg.bar(x, top, 18.0, 12.0, INCREMENTAL, INCREMENTAL, ""),
        "incremental, every time in it",
    );
    entry(
        &|svg, x| {
            svg.bar(x, top, 18.0, 12.0, "#ffffff", INCREMENTAL, "");
            svg.bar(x + 16.0, top, 2.0, 12.0, INCREMENTAL, INCREMENTAL, "");
        },
        "incremental, only its end",
    );
    entry(
        &|svg, x| svg.bar(x, top + 1.0, 18.0, 10.0, RESTORABLE, RESTORABLE, ""),
        "restorable",
    );
    entry(
        &|svg, x| svg.bar(x + 8.0, top - 2.0, 2.0, 16.0, RESTORABLE, RESTORABLE, ""),
        "one time",
    );
    entry(&|svg, x| svg.hatched(x, top, 18.0, 12.0, ""), "gap");
    if !timeline.protected.is_empty() {
        entry(
            &|svg, x| svg.bar(x, top + 1.0, 18.0, 10.0, "#e9e3fa", PROTECTED, ""),
            "kept since",
        );
    }
}

fn by_keyspace(ranges: &[Restorable]) -> BTreeMap<&str, Vec<&Restorable>> {
    let mut keyspaces: BTreeMap<&str, Vec<&Restorable>> = BTreeMap::new();
    for range in ranges {
        keyspaces.entry(&range.keyspace).or_default().push(range);
    }
    keyspaces
}

/// A name as far as it fits.
fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME_LETTERS {
        return name.to_owned();
    }
    let kept: String = name.chars().take(NAME_LETTERS - 1).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests;
