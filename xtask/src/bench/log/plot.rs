//! One picture of a report: a group of bars for each workload.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::{
    Color, DrawingArea, EmptyElement, IntoDrawingArea, RGBColor, Rectangle, SVGBackend, Text,
};
use plotters::style::{IntoFont, ShapeStyle};

use super::Row;

const WIDTH: i32 = 900;
const BAR: i32 = 18;
const TITLE: i32 = 30;
/// Where bars begin, and how long the longest is.
const LEFT: i32 = 190;
const LONGEST: f64 = 540.0;

const OURS: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
const OTHERS: RGBColor = RGBColor(0xb0, 0xb7, 0xbf);

/// Draws the rows, which come in groups of one workload each.
pub(super) fn draw(path: &Path, rows: &[Row]) -> Result<()> {
    let groups: Vec<&[Row]> = rows.chunk_by(|a, b| a.workload == b.workload).collect();
    let count = i32::try_from(rows.len())?;
    let height = count * BAR + i32::try_from(groups.len())? * TITLE + TITLE;
    let size = (u32::try_from(WIDTH)?, u32::try_from(height)?);
    let area = SVGBackend::new(path, size).into_drawing_area();
    let fail = |error| anyhow::anyhow!("cannot draw {}: {error}", path.display());
    area.fill(&plotters::style::WHITE).map_err(|e| fail(e.to_string()))?;
    let mut top = TITLE / 2;
    for group in groups {
        draw_group(&area, group, top).map_err(|e| fail(e.to_string()))?;
        top += TITLE + BAR * i32::try_from(group.len())?;
    }
    area.present().map_err(|e| fail(e.to_string()))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw_group(area: &Area<'_>, group: &[Row], top: i32) -> Result<()> {
    let Some(first) = group.first() else { return Ok(()) };
    let title = format!("{} ({})", first.workload, first.unit);
    let longest = group.iter().map(|row| row.value).fold(f64::MIN_POSITIVE, f64::max);
    area.draw(&Text::new(title, (10, top), ("sans-serif", 15).into_font()))?;
    for (row, at) in group.iter().zip((top + 20..).step_by(18)) {
        let color = if row.contestant.starts_with("ottla") { OURS } else { OTHERS };
        #[allow(clippy::cast_possible_truncation, reason = "a place in a picture")]
        let end = LEFT + (row.value / longest * LONGEST) as i32;
        let style: ShapeStyle = color.filled();
        let font = || ("sans-serif", 12).into_font();
        area.draw(
            &(EmptyElement::at((0, at))
                + Text::new(row.contestant.clone(), (24, 1), font())
                + Rectangle::new([(LEFT, 0), (end, BAR - 4)], style)
                + Text::new(format!("{:.0}", row.value), (end + 6, 1), font())),
        )?;
    }
    Ok(())
}
