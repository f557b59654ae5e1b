//! Arms side by side, over seeds.

use std::fmt::{self, Display};

use serde_json::Value;

use crate::results::{ArmResult, Results};

#[cfg(test)]
mod tests;

/// A number over seeds, as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The mean.
    pub mean: String,
    /// The least and the most, where there are several seeds: `4.1 to 5.6`.
    pub range: Option<String>,
}

impl Cell {
    /// With `digits` behind the point; [`None`] without values.
    fn of(values: impl Iterator<Item = f64>, digits: usize) -> Option<Self> {
        let values: Vec<f64> = values.collect();
        let seeds = values.len();
        #[expect(clippy::cast_precision_loss, reason = "a count of seeds")]
        let mean = values.iter().sum::<f64>() / seeds as f64;
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (seeds > 0).then(|| Self {
            mean: format!("{mean:.digits$}"),
            range: (seeds > 1).then(|| format!("{least:.digits$} to {most:.digits$}")),
        })
    }
}

impl Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.mean)?;
        match &self.range {
            Some(range) => write!(f, " ({range})"),
            None => Ok(()),
        }
    }
}

/// A table: what is above, beside and in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// What is above it.
    pub title: String,
    /// Heads of its columns, the first of which has the names of rows.
    pub columns: Vec<String>,
    /// Name and cells of each row; nothing where nothing is known.
    pub rows: Vec<(String, Vec<Option<Cell>>)>,
}

impl Summary {
    /// As a table of Markdown.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let heads = line(&self.columns);
        let rule = format!("|{}\n", " --- |".repeat(self.columns.len()));
        let rows = self.rows.iter().map(|(name, cells)| {
            let cells = cells
                .iter()
                .map(|cell| cell.as_ref().map_or_else(String::new, Cell::to_string));
            line(
                &std::iter::once(name.clone())
                    .chain(cells)
                    .collect::<Vec<_>>(),
            )
        });
        format!(
            "{}\n\n{heads}{rule}{}",
            self.title,
            rows.collect::<String>()
        )
    }
}

/// What a column shows of an arm's result.
type Metric<'name> = Box<dyn Fn(&ArmResult) -> Option<f64> + 'name>;

/// The tables of the results: those that the file asks for, and one of the filters by kind of wrong text.
pub fn summarise(results: &Results) -> Vec<Summary> {
    let mut metrics: Vec<(String, usize, Metric<'_>)> = Vec::new();
    let sets = results.results.first().map(|result| result.held_out.keys());
    for set in sets.into_iter().flatten() {
        let recalls = [
            ("image_to_text", "1", "text R@1"),
            ("image_to_text", "5", "text R@5"),
            ("text_to_image", "1", "picture R@1"),
            ("text_to_image", "5", "picture R@5"),
        ];
        for (way, k, name) in recalls {
            let share =
                move |result: &ArmResult| result.held_out.get(set)?["recall"][way][k].as_f64();
            let metric = Box::new(move |result: &ArmResult| Some(100.0 * share(result)?));
            metrics.push((format!("{set}: {name}"), 1, metric));
        }
        let cider = move |result: &ArmResult| result.held_out.get(set)?["cider_d"].as_f64();
        metrics.push((format!("{set}: CIDEr-D"), 2, Box::new(cider)));
    }
    metrics.push((
        "web kept".to_owned(),
        0,
        Box::new(|result| share(result.texts?.web_kept, result.texts?.web)),
    ));
    metrics.push((
        "synthetic kept".to_owned(),
        0,
        Box::new(|result| share(result.texts?.synthetic_kept, result.texts?.synthetic)),
    ));
    metrics.push((
        "noise ratio".to_owned(),
        0,
        Box::new(|result| {
            Some(100.0 - share(result.texts?.synthetic_kept, result.texts?.synthetic)?)
        }),
    ));
    let mut tables: Vec<Summary> = results
        .tables
        .iter()
        .map(|table| {
            let mut columns = vec!["arm".to_owned()];
            columns.extend(metrics.iter().map(|(name, ..)| name.clone()));
            let rows = table.arms.iter().map(|arm| {
                let cells = metrics.iter().map(|(_, digits, metric)| {
                    Cell::of(of_arm(results, arm).filter_map(metric), *digits)
                });
                (arm.clone(), cells.collect())
            });
            let mut table = Summary {
                title: table.title.clone(),
                columns,
                rows: rows.collect(),
            };
            table.drop_empty_columns();
            table
        })
        .collect();
    tables.extend(filters(results));
    tables
}

impl Summary {
    fn drop_empty_columns(&mut self) {
        for place in (0..self.columns.len() - 1).rev() {
            if self.rows.iter().all(|(_, cells)| cells[place].is_none()) {
                self.columns.remove(place + 1);
                for (_, cells) in &mut self.rows {
                    cells.remove(place);
                }
            }
        }
    }
}

/// How the filters did where the truth is known: all of it, and each kind of wrong text.
fn filters(results: &Results) -> Option<Summary> {
    let judged: Vec<&ArmResult> = results
        .results
        .iter()
        .filter(|result| result.filter.is_some())
        .collect();
    let groups = judged.first()?.filter.as_ref()?["groups"].as_object();
    let groups: Vec<&String> = groups
        .into_iter()
        .flat_map(|groups| groups.keys())
        .collect();
    let heads = ["arm", "right kept", "wrong kept", "precision", "AUC"];
    let mut columns: Vec<String> = heads.map(str::to_owned).into();
    columns.extend(groups.iter().map(|group| format!("{group}: kept")));
    let kept = |numbers: &Value, what: &str| {
        share(
            numbers[format!("{what}_kept")].as_u64()?,
            numbers[what].as_u64()?,
        )
    };
    let arms = results.arms.iter().filter(|arm| {
        let mut of_arm = judged.iter().filter(|result| result.arm == arm.name);
        of_arm.next().is_some()
    });
    let rows = arms.map(|arm| {
        let numbers = || of_arm(results, &arm.name).filter_map(|result| result.filter.as_ref());
        let mut cells = vec![
            Cell::of(numbers().filter_map(|numbers| kept(numbers, "right")), 0),
            Cell::of(numbers().filter_map(|numbers| kept(numbers, "wrong")), 0),
            Cell::of(
                numbers().filter_map(|numbers| Some(100.0 * numbers["precision"].as_f64()?)),
                0,
            ),
            Cell::of(numbers().filter_map(|numbers| numbers["auc"].as_f64()), 3),
        ];
        cells.extend(groups.iter().map(|group| {
            let of_group =
                numbers().filter_map(|numbers| kept(&numbers["groups"][group.as_str()], "wrong"));
            Cell::of(of_group, 0)
        }));
        (arm.name.clone(), cells)
    });
    Some(Summary {
        title: "Filters against the truth, in percent".to_owned(),
        columns,
        rows: rows.collect(),
    })
}

fn of_arm<'results>(
    results: &'results Results,
    arm: &str,
) -> impl Iterator<Item = &'results ArmResult> {
    results
        .results
        .iter()
        .filter(move |result| result.arm == arm)
}

/// In percent.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| 100.0 * part as f64 / whole as f64)
}
