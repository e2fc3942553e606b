//! Plans and their costs, as text and as JSON.

use cold_storage::{Money, PriceTable, Transfer};
use kopia_maintenance::plan::{TaskPlan, Verdict};
use serde_json::{Value, json};

use super::super::prices::{cost_json, dollars};
use crate::ui::{size, text};

/// What a task costs: requests, reads, and the days that dead archived packs are billed on.
pub fn cost(plan: &TaskPlan, table: &PriceTable, transfer: Transfer) -> Money {
    let usage = &plan.usage;
    let mut sum = table.cost(usage, transfer).total() + table.lists(usage.lists);
    for (class, amount) in &usage.puts {
        sum += table.class_or_standard(class).puts(amount.count);
    }
    sum
}

/// What dead archived packs are billed for until their minimum days are over, kept or not.
pub fn early(plan: &TaskPlan, table: &PriceTable) -> Money {
    let parts = plan.early_byte_days.iter();
    parts.fold(Money::ZERO, |sum, (class, days)| sum + table.class_or_standard(class).early(*days))
}

/// A task as JSON.
pub fn task_json(
    plan: &TaskPlan,
    table: &PriceTable,
    transfer: Transfer,
    with_deletions: bool,
) -> Value {
    let mut cost = cost_json(&table.cost(&plan.usage, transfer), table);
    cost["lists"] = json!(table.lists(plan.usage.lists));
    let puts = plan.usage.puts.iter();
    let puts = puts.fold(Money::ZERO, |sum, (class, amount)| {
        sum + table.class_or_standard(class).puts(amount.count)
    });
    cost["puts"] = json!(puts);
    cost["total"] = json!(self::cost(plan, table, transfer));
    cost["billedOn"] = json!(early(plan, table));
    let mut value = json!({
        "task": plan.task,
        "verdict": plan.verdict,
        "reason": plan.reason,
        "reads": plan.reads.count,
        "writes": plan.writes.count,
        "deletes": plan.deletes.count,
        "contents": plan.contents,
        "bytes": plan.reads.bytes + plan.deletes.bytes,
        "readBytes": plan.reads.bytes,
        "writtenBytes": plan.writes.bytes,
        "deletedBytes": plan.deletes.bytes,
        "coldSkipped": plan.cold_skipped,
        "notes": plan.notes,
        "cost": cost,
    });
    if with_deletions {
        value["deletions"] = json!(plan.deletions);
    }
    value
}

/// A task for people, with each deletion if that is asked for.
pub fn print_task(plan: &TaskPlan, table: &PriceTable, transfer: Transfer, with_deletions: bool) {
    let verdict = match plan.verdict {
        Verdict::Due => "will be done",
        Verdict::Nothing => "nothing to do",
        Verdict::NotYet => "not yet",
        Verdict::Off => "off",
    };
    text::line(format!("{}: {verdict}", plan.task));
    text::line(format!("  {}: {}", plan.task.what(), plan.reason));
    if plan.is_due() {
        let amount = |word: &str, amount: &blob_core::usage::Amount| match amount.count {
            0 => None,
            1 => Some(format!("{word} 1 blob ({})", size::bytes(amount.bytes))),
            count => Some(format!("{word} {count} blobs ({})", size::bytes(amount.bytes))),
        };
        let mut parts: Vec<String> = [
            amount("reads", &plan.reads),
            amount("writes", &plan.writes),
            amount("deletes", &plan.deletes),
        ]
        .into_iter()
        .flatten()
        .collect();
        if plan.contents > 0 {
            parts.push(format!("{} contents", plan.contents));
        }
        let cost = cost(plan, table, transfer);
        if cost > Money::ZERO {
            parts.push(dollars(cost));
        }
        if !parts.is_empty() {
            text::line(format!("  {}", parts.join(", ")));
        }
    }
    plan.notes.iter().for_each(|note| text::line(format!("  {note}")));
    let early = early(plan, table);
    if early > Money::ZERO {
        text::line(format!(
            "  dead archived packs are billed for {} more, deleted now or kept until their days are over",
            dollars(early)
        ));
    }
    if with_deletions {
        for deletion in &plan.deletions {
            let (blob, size) = (&deletion.blob, size::bytes(deletion.size));
            let (reason, evidence, margin) =
                (deletion.reason, &deletion.evidence, &deletion.margin);
            text::line(format!("    {blob} ({size}): {reason}; {evidence}; {margin}"));
        }
    }
}
