//! Prometheus' text format, which the node exporter's textfile collector reads. It refuses a whole file of OpenMetrics: that
//! format has types of its own, and names a counter without `_total`.

use std::fmt::Write;

/// A page in Prometheus' text format, made of pages of OpenMetrics.
pub(super) fn text_format(open_metrics: &str) -> String {
    let (mut text, mut help) = (String::with_capacity(open_metrics.len()), "");
    for line in open_metrics.lines() {
        if let Some((_, words)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help = words;
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            writeln!(text, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}")
                .expect("a String takes everything");
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_names_are_those_of_the_text_format() {
        let page = "# HELP w_build The version.\n# TYPE w_build info\nw_build_info{version=\"1\"} 1\n\
            # HELP w_calls Calls.\n# TYPE w_calls counter\nw_calls_total{pool=\"a # b\"} 3\n\
            # HELP w_age_seconds Age.\n# TYPE w_age_seconds gauge\n# UNIT w_age_seconds seconds\nw_age_seconds 0.5\n# EOF\n";
        let text = "# HELP w_build_info The version.\n# TYPE w_build_info gauge\nw_build_info{version=\"1\"} 1\n\
            # HELP w_calls_total Calls.\n# TYPE w_calls_total counter\nw_calls_total{pool=\"a # b\"} 3\n\
            # HELP w_age_seconds Age.\n# TYPE w_age_seconds gauge\nw_age_seconds 0.5\n";
        assert_eq!(text_format(page), text);
    }
}
