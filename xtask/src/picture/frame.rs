//! What a terminal shows, as a picture.

use std::fmt::Write;

use super::{COLUMNS, LAST, Look, ROWS};

/// A character cell's size.
const WIDTH: f64 = 8.4;
const HEIGHT: f64 = 18.0;
/// Room around the text.
const MARGIN: f64 = 14.0;

/// How characters look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Style {
    color: Option<&'static str>,
    bold: bool,
    dim: bool,
}

/// A run of characters that look alike.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    column: usize,
    text: String,
    style: Style,
}

/// What a terminal shows at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    rows: Vec<Vec<Span>>,
}

impl Frame {
    /// Reads what `tmux capture-pane -e` prints.
    pub fn read(shown: &str) -> Self {
        let mut style = Style::default();
        let rows = shown.lines().take(ROWS).map(|line| row(line, &mut style));
        Self {
            rows: rows.collect(),
        }
    }
}

fn row(line: &str, style: &mut Style) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut column = 0;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c == '\x1b' {
            let code: String = rest.by_ref().skip(1).take_while(|c| *c != 'm').collect();
            obey(&code, style);
            continue;
        }
        match spans.last_mut() {
            Some(last) if last.style == *style => last.text.push(c),
            _ => spans.push(Span {
                column,
                text: c.to_string(),
                style: style.clone(),
            }),
        }
        column += 1;
    }
    spans.retain(|span| !span.text.trim().is_empty());
    spans
}

fn obey(code: &str, style: &mut Style) {
    for number in code.split(';') {
        match number {
            "1" => style.bold = true,
            "2" => style.dim = true,
            "22" => (style.bold, style.dim) = (false, false),
            "31" => style.color = Some("#e06c75"),
            "32" => style.color = Some("#98c379"),
            "33" => style.color = Some("#e5c07b"),
            "36" => style.color = Some("#56b6c2"),
            "39" => style.color = None,
            "0" | "" => *style = Style::default(),
            _ => {}
        }
    }
}

/// The moving picture.
pub fn svg(looks: &[Look]) -> String {
    let total = looks.last().map_or(1.0, |l| (l.since + LAST).as_secs_f64());
    let (width, height) = (
        COLUMNS as f64 * WIDTH + 2.0 * MARGIN,
        ROWS as f64 * HEIGHT + 2.0 * MARGIN,
    );
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"ui-monospace,Menlo,Consolas,monospace\" font-size=\"14\" fill=\"#d7dae0\">\n\
         <style>g{{visibility:hidden}}.b{{font-weight:bold}}.d{{opacity:.55}}</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#1e2127\"/>\n"
    );
    for (at, look) in looks.iter().enumerate() {
        let begin = look.since.as_secs_f64();
        let end = looks
            .get(at + 1)
            .map_or(total, |next| next.since.as_secs_f64());
        frame(&mut out, &look.frame, begin, end, total);
    }
    out.push_str("</svg>\n");
    out
}

/// One frame, shown from `begin` to `end` of each round of `total` seconds.
fn frame(out: &mut String, frame: &Frame, begin: f64, end: f64, total: f64) {
    let (from, to) = (begin / total, end / total);
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "<g><animate attributeName=\"visibility\" dur=\"{total:.2}s\" repeatCount=\"indefinite\" \
         calcMode=\"discrete\" values=\"hidden;visible;hidden\" keyTimes=\"0;{from:.5};{to:.5}\"/>"
    );
    for (number, row) in frame.rows.iter().enumerate() {
        for span in row {
            text(out, span, MARGIN + (number as f64 + 0.75) * HEIGHT);
        }
    }
    out.push_str("</g>\n");
}

fn text(out: &mut String, span: &Span, y: f64) {
    let blanks = span.text.chars().take_while(|c| *c == ' ').count();
    let x = MARGIN + (span.column + blanks) as f64 * WIDTH;
    let words = span.text.trim();
    let length = words.chars().count() as f64 * WIDTH;
    let fill = span
        .style
        .color
        .map_or(String::new(), |c| format!(" fill=\"{c}\""));
    let class = match (span.style.bold, span.style.dim) {
        (true, _) => " class=\"b\"",
        (_, true) => " class=\"d\"",
        _ => "",
    };
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = write!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\" xml:space=\"preserve\"{fill}{class}>{words}</text>"
    );
}
