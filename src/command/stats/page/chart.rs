//! PURE: the drawings of the page, as SVG.
//!
//! They are as wide as a telephone, and grow with the page. Their colours are those of a light page; what they are on a
//! dark one, [`dark`] says.

use std::fmt::Write;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Pixels, before the page scales them.
const WIDTH: u32 = 480;

const TEXT: i32 = 18;

/// A colour, and what it is on a dark page.
type Ink = (RGBColor, &'static str);

const WORDS: Ink = (RGBColor(0x33, 0x33, 0x38), "#d6d6dc");
const LINES: Ink = (RGBColor(0xd9, 0xd9, 0xdf), "#3d3d44");
const BARS: Ink = (RGBColor(0x2a, 0x78, 0xd6), "#4c93e6");

/// From nothing to the most.
const HEAT: [Ink; 6] = [
    (RGBColor(0xee, 0xef, 0xf2), "#2a2a2f"),
    (RGBColor(0xbf, 0xda, 0xf7), "#123a6b"),
    (RGBColor(0x86, 0xb6, 0xef), "#1f569c"),
    (RGBColor(0x4a, 0x90, 0xe2), "#3a7bd0"),
    (RGBColor(0x1f, 0x5f, 0xb4), "#74abec"),
    (RGBColor(0x0d, 0x36, 0x6b), "#cfe3fb"),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Rules of the style sheet that make the drawings fit a dark page.
pub(super) fn dark() -> String {
    let mut rules = String::new();
    for (RGBColor(red, green, blue), dark) in [WORDS, LINES, BARS].into_iter().chain(HEAT) {
        let light = format!("#{red:02X}{green:02X}{blue:02X}");
        // Writing to a String cannot fail.
        let _ = write!(rules, "svg [fill='{light}']{{fill:{dark}}}svg [stroke='{light}']{{stroke:{dark}}}");
    }
    rules
}

/// An upright bar for each count, with the labels of some.
pub(super) fn columns(counts: &[u64], label: impl Fn(usize) -> String) -> String {
    // Axes count in tenths: with fractions they would call the C library's mathematics, which then lies in the memory of
    // every daemon.
    let (most, places) = (u128::from(top(counts)), counts.len() as i64);
    draw(240, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(24)
            .x_label_area_size(28)
            .y_label_area_size(56)
            .build_cartesian_2d(-5..places * 10 - 5, 0..(most * 106).div_ceil(10))?;
        let index = |at: i64| usize::try_from(at / 10).ok().filter(|index| at % 10 == 0 && *index < counts.len());
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(LINES.0)
            .axis_style(LINES.0)
            .label_style(words())
            .x_labels(5)
            .y_labels(5)
            .x_label_formatter(&|at| index(*at).map_or_else(String::new, &label))
            .y_label_formatter(&|count| if count % 10 == 0 { short((count / 10) as u64) } else { String::new() })
            .draw()?;
        let bar = |(at, count): (i64, &u64)| {
            Rectangle::new([(at * 10 - 4, 0), (at * 10 + 4, u128::from(*count) * 10)], BARS.0.filled())
        };
        chart.draw_series((0..).zip(counts).filter(|(_, count)| **count > 0).map(bar))?;
        Ok(())
    })
}

/// A cell for each hour of each weekday, the darker the more.
pub(super) fn heat(week: &[[u64; 24]; 7], days: [&str; 7]) -> String {
    const CELL: i32 = 17;
    const LEFT: i32 = 52;
    const TOP: i32 = 8;
    let most = week.iter().flatten().max().copied().unwrap_or(0);
    draw(204, |area| {
        for (row, (hours, day)) in (0..).zip(week.iter().zip(days)) {
            let y = TOP + row * CELL;
            write_text(area, day, (LEFT - 10, y + CELL / 2), HPos::Right)?;
            for (column, count) in (0..).zip(hours) {
                let x = LEFT + column * CELL;
                cell(area, (x, y), HEAT[level(*count, most)])?;
            }
        }
        for hour in (0..24).step_by(3) {
            write_text(
                area,
                &format!("{hour:02}"),
                (LEFT + hour * CELL + CELL / 2, TOP + 7 * CELL + 12),
                HPos::Center,
            )?;
        }
        let y = TOP + 7 * CELL + 36;
        write_text(area, "none", (LEFT, y + CELL / 2), HPos::Left)?;
        for (n, ink) in (0..).zip(HEAT) {
            cell(area, (LEFT + 48 + n * CELL, y), ink)?;
        }
        write_text(area, &short(most), (LEFT + 56 + 6 * CELL, y + CELL / 2), HPos::Left)
    })
}

/// A line of columns for each row, all as high as their own largest count, which is written beside them.
pub(super) fn rows(rows: &[(&str, Vec<u64>)]) -> String {
    const ROW: i32 = 56;
    const TOP: i32 = 22;
    draw((rows.len() as i32 * ROW + 8) as u32, |area| {
        for (number, (name, counts)) in (0..).zip(rows) {
            let y = number * ROW;
            let most = top(counts);
            write_text(area, name, (8, y + 12), HPos::Left)?;
            write_text(area, &format!("at most {}", short(most)), (WIDTH as i32 - 8, y + 12), HPos::Right)?;
            let bottom = y + ROW - 2;
            area.draw(&PathElement::new([(8, bottom), (WIDTH as i32 - 8, bottom)], LINES.0))?;
            let room = f64::from(WIDTH - 16) / counts.len().max(1) as f64;
            for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let left = 8.0 + room * at as f64;
                let high = (f64::from(ROW - TOP - 2) * *count as f64 / most as f64).max(1.0);
                let corners =
                    [(left as i32, bottom - high as i32), ((left + room * 0.8).max(left + 1.0) as i32, bottom)];
                area.draw(&Rectangle::new(corners, BARS.0.filled()))?;
            }
        }
        Ok(())
    })
}

/// A bar for each count, beneath its name, with the number at its end.
pub(super) fn bars(rows: &[(String, u64)]) -> String {
    const ROW: i32 = 40;
    const NUMBER: i32 = 72;
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    draw((rows.len() as i32 * ROW + 8) as u32, |area| {
        for (number, (name, count)) in (0..).zip(rows) {
            let y = number * ROW;
            write_text(area, name, (8, y + 12), HPos::Left)?;
            let long = (f64::from(WIDTH as i32 - 8 - NUMBER) * *count as f64 / most as f64).max(1.0) as i32;
            area.draw(&Rectangle::new([(8, y + 22), (8 + long, y + 34)], BARS.0.filled()))?;
            write_text(area, &short(*count), (16 + long, y + 28), HPos::Left)?;
        }
        Ok(())
    })
}

fn words() -> TextStyle<'static> {
    ("sans-serif", TEXT).into_font().color(&WORDS.0)
}

/// An empty text where nothing can be drawn, which is nowhere: all goes to memory.
fn draw(height: u32, content: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    let drawn = content(&area).is_ok() && area.present().is_ok();
    drop(area);
    if drawn { svg } else { String::new() }
}

fn write_text(area: &Area<'_>, text: &str, at: (i32, i32), align: HPos) -> Drawn {
    area.draw_text(text, &words().pos(Pos::new(align, VPos::Center)), at)?;
    Ok(())
}

fn cell(area: &Area<'_>, (x, y): (i32, i32), ink: Ink) -> Drawn {
    area.draw(&Rectangle::new([(x, y), (x + 15, y + 15)], ink.0.filled()))?;
    Ok(())
}

/// Which colour: the first is nothing, and the others have equal shares of what there is.
fn level(count: u64, most: u64) -> usize {
    let levels = HEAT.len() as u64 - 1;
    (u128::from(count) * u128::from(levels)).div_ceil(u128::from(most.max(1))) as usize
}

fn top(counts: &[u64]) -> u64 {
    counts.iter().max().copied().unwrap_or(0).max(1)
}

/// A count in a few digits: `12k` is at least 12,000.
fn short(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..10_000_000 => format!("{}k", count / 1_000),
        _ => format!("{}M", count / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_named_is_text_and_not_markup() {
        let svg = bars(&[("<script>&\"'".to_owned(), 3)]);
        assert!(svg.contains("&lt;script&gt;&amp;") && !svg.contains("<script"), "{svg}");
    }

    #[test]
    fn every_colour_has_one_for_the_dark() {
        let week = std::array::from_fn(|day| std::array::from_fn(|hour| (day * hour) as u64));
        let drawings = [
            columns(&[3, 0, 2_000_000], |at| at.to_string()),
            heat(&week, ["Mon"; 7]),
            rows(&[("Invalid Account", vec![1, 0, 3])]),
            bars(&[("192.0.2.1".to_owned(), 12_345)]),
        ];
        for svg in drawings {
            assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
            let colours = svg.split(['"', ' ']).filter(|word| word.starts_with('#'));
            for colour in colours {
                assert!(dark().contains(&format!("'{colour}'")), "{colour}");
            }
        }
    }

    #[test]
    fn nothing_at_all_and_the_largest_counts_can_be_drawn() {
        for counts in [vec![], vec![0], vec![u64::MAX, 1]] {
            assert!(!columns(&counts, |_| String::new()).is_empty());
            assert!(!rows(&[("all", counts)]).is_empty());
        }
        assert!(!bars(&[]).is_empty() && !bars(&[(String::new(), u64::MAX)]).is_empty());
        assert!(!heat(&[[u64::MAX; 24]; 7], [""; 7]).is_empty());
    }

    #[test]
    fn what_is_not_nothing_is_seen_on_the_map() {
        assert_eq!([0, 1, 20, 21, 100].map(|count| level(count, 100)), [0, 1, 1, 2, 5]);
        assert_eq!(level(0, 0), 0);
    }
}
