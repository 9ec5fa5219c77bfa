//! Plain aligned columns: no borders, header in capitals, numbers to the right.

/// Rows under a header.
#[derive(Clone, Debug)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; it has as many cells as the header.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        assert!(cells.len() == self.header.len(), "a row of {:?}", self.header);
        self.rows.push(cells);
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, each with its line end; the header first if it is wanted.
    pub fn render(&self, with_header: bool) -> String {
        let header = self.header.iter().map(|name| name.to_uppercase()).collect();
        let header: Vec<Vec<String>> = if with_header { vec![header] } else { Vec::new() };
        let lines: Vec<&Vec<String>> = header.iter().chain(&self.rows).collect();
        let columns: Vec<Column> = (0..self.header.len())
            .map(|at| Column {
                width: lines
                    .iter()
                    .filter_map(|line| line.get(at))
                    .map(|cell| width(cell))
                    .max()
                    .unwrap_or(0),
                is_number: self
                    .rows
                    .iter()
                    .filter_map(|row| row.get(at))
                    .all(|cell| is_number(cell))
                    && !self.rows.is_empty(),
            })
            .collect();
        lines.into_iter().map(|line| render_line(line, &columns)).collect()
    }
}

struct Column {
    width: usize,
    is_number: bool,
}

fn render_line(cells: &[String], columns: &[Column]) -> String {
    let mut line = String::new();
    for (at, (cell, column)) in cells.iter().zip(columns).enumerate() {
        let gap = " ".repeat(column.width.saturating_sub(width(cell)));
        if 0 < at {
            line.push_str("  ");
        }
        if column.is_number {
            line.push_str(&gap);
            line.push_str(cell);
        } else {
            line.push_str(cell);
            line.push_str(&gap);
        }
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}

/// Characters, which is right for names that Kafka allows and near enough for the rest.
fn width(cell: &str) -> usize {
    cell.chars().count()
}

fn is_number(cell: &str) -> bool {
    cell == "-" || (!cell.is_empty() && cell.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_right() {
        let mut table = Table::new(&["name", "partitions", "note"]);
        table.row(["orders", "3", ""].map(str::to_owned));
        table.row(["é", "120", "new"].map(str::to_owned));
        table.row(["x", "-", "x"].map(str::to_owned));
        assert_eq!(
            table.render(true),
            "\
NAME    PARTITIONS  NOTE
orders           3
é              120  new
x                -  x
"
        );
        assert_eq!(table.render(false), "orders    3\né       120  new\nx         -  x\n");
    }

    #[test]
    fn an_empty_table_is_its_header() {
        assert_eq!(Table::new(&["name", "id"]).render(true), "NAME  ID\n");
        assert_eq!(Table::new(&["name"]).render(false), "");
    }
}
