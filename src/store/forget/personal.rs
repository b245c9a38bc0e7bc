//! The columns that hold what came from a line or was made of it: each text and each blob of each table is named here, as
//! personal or with the reason why it is not. `forget` leaves nothing in the personal ones of its lines.

/// What the texts and blobs of a table hold.
pub(in crate::store) struct PersonalColumns {
    /// The table.
    pub(in crate::store) table: &'static str,
    /// How a row of it belongs to a job (`$1`): a condition. Empty: no row belongs to one job alone.
    pub(in crate::store) of_job: &'static str,
    /// What `forget` empties.
    pub(in crate::store) personal: &'static [&'static str],
    /// What stays, and why.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "it is for readers, and for the test that holds the list complete")
    )]
    pub(in crate::store) others: &'static [(&'static str, &'static str)],
}

const LIST: &str = "a value of a list of ours";
const CONFIGURED: &str = "a name that the operator gave";
const OURS: &str = "made by wavebatch, of no content";

/// All tables with texts or blobs.
pub(in crate::store) const PERSONAL: &[PersonalColumns] = &[
    PersonalColumns {
        table: "ledger",
        of_job: "",
        personal: &[],
        others: &[
            ("id", OURS),
            ("spool", "an address of the operator"),
            ("copy", LIST),
            ("copy_with", "an address of the operator"),
            ("copy_id", OURS),
        ],
    },
    PersonalColumns {
        table: "processes",
        of_job: "",
        personal: &[],
        others: &[("host", "a machine of the operator"), ("version", OURS), ("settings", "limits of the account")],
    },
    PersonalColumns { table: "secrets", of_job: "", personal: &[], others: &[("purpose", LIST), ("secret", OURS)] },
    PersonalColumns {
        table: "batches",
        of_job: "",
        personal: &[],
        others: &[
            ("name", CONFIGURED),
            ("definition", CONFIGURED),
            ("task", LIST),
            ("unit", LIST),
            ("environment", LIST),
            ("spec", "the definition, and the names of the manifest's columns"),
            ("state", LIST),
            ("pending", "columns of the manifest by number"),
            ("pause_kind", LIST),
            (
                "pause_reason",
                "of the account, the output, the API, or how many lines failed and with what kind of error",
            ),
            ("reported", "counts"),
            ("fed_with", "a path of the operator, and the names of the manifest's columns"),
        ],
    },
    PersonalColumns {
        table: "forgets",
        of_job: "",
        personal: &[],
        others: &[
            ("uid", OURS),
            ("spec", OURS),
            ("state", LIST),
            ("receipt", "a path of the operator"),
            ("digest", "of a receipt, which has no content"),
        ],
    },
    PersonalColumns {
        table: "texts",
        of_job: "id IN (SELECT text FROM jobs WHERE id = $1)",
        personal: &["id", "body"],
        others: &[],
    },
    PersonalColumns {
        table: "jobs",
        of_job: "id = $1",
        personal: &[
            "source",
            "source_etag",
            "source_path",
            "source_hash",
            "text",
            "source_id",
            "options_id",
            "overrides",
            "carried",
            "error",
            "request_id",
            "content_expiry",
            "outputs",
            "waits_for",
        ],
        others: &[
            ("key", "what the tombstone is known by; `--hash-key` replaces it"),
            ("variant", "voice and format, as the definition names them"),
            ("kind", LIST),
            ("state", LIST),
            ("wanted", LIST),
            ("pool", LIST),
            ("lane", LIST),
            ("other_way", LIST),
            ("facts", "lengths and counts; what else it has goes"),
            ("error_kind", LIST),
            ("notes", "values of a list of ours; what else it has goes"),
        ],
    },
    PersonalColumns {
        table: "job_parts",
        of_job: "job = $1",
        personal: &["cache_key"],
        others: &[("plan", "channels and times")],
    },
    PersonalColumns { table: "hearings", of_job: "job = $1", personal: &["content", "body"], others: &[] },
    PersonalColumns {
        table: "clips",
        of_job: "cache_key IN (SELECT cache_key FROM job_parts WHERE job = $1)",
        personal: &["cache_key"],
        others: &[],
    },
    PersonalColumns {
        table: "calls",
        of_job: "job = $1",
        personal: &["request_id", "error", "content_expiry", "log_cursor", "cache_key"],
        others: &[
            ("id", OURS),
            ("account", OURS),
            ("pool", LIST),
            ("state", LIST),
            ("why", LIST),
            ("boot_id", "a start of the machine"),
            ("error_kind", LIST),
            ("request", "model, language and flags; keywords, sizes and lengths go"),
        ],
    },
    PersonalColumns {
        table: "spending",
        of_job: "",
        personal: &[],
        others: &[("account", OURS), ("environment", LIST)],
    },
    PersonalColumns {
        table: "spend_notices",
        of_job: "",
        personal: &[],
        others: &[("account", OURS), ("environment", LIST), ("period", LIST), ("words", "sums of money")],
    },
    PersonalColumns {
        table: "answers",
        of_job: "call IN (SELECT id FROM calls WHERE job = $1)",
        personal: &["call", "origin", "body"],
        others: &[],
    },
    PersonalColumns {
        table: "callbacks",
        of_job: "call IN (SELECT id FROM calls WHERE job = $1)",
        personal: &["call", "digest", "effect", "body"],
        others: &[],
    },
    PersonalColumns { table: "outputs", of_job: "job = $1", personal: &["path", "checksum"], others: &[] },
    PersonalColumns {
        table: "forget_items",
        of_job: "job = $1",
        personal: &["place", "checksum", "why", "kind", "state"],
        others: &[],
    },
    PersonalColumns {
        table: "demand",
        of_job: "",
        personal: &[],
        others: &[("account", OURS), ("pool", LIST), ("definition", CONFIGURED)],
    },
    PersonalColumns { table: "pools", of_job: "", personal: &[], others: &[("account", OURS), ("pool", LIST)] },
    PersonalColumns {
        table: "dictionaries",
        of_job: "",
        personal: &[],
        others: &[
            ("account", OURS),
            ("name", "a file of the definition"),
            ("id", "the vendor's, of a file of the definition"),
            ("hash", "of a file of the definition"),
        ],
    },
    PersonalColumns {
        table: "notices",
        of_job: "",
        personal: &[],
        others: &[
            ("uid", OURS),
            ("definition", CONFIGURED),
            ("batch", CONFIGURED),
            ("event", LIST),
            ("about", "a moment"),
            ("body", "counts, sums and reasons of a batch"),
            ("state", LIST),
            ("error", "of the receiver of a notification"),
        ],
    },
    PersonalColumns {
        table: "schedules",
        of_job: "",
        personal: &[],
        others: &[
            ("definition", CONFIGURED),
            ("environment", LIST),
            ("content", "of a definition"),
            ("former", "of a definition"),
        ],
    },
    PersonalColumns {
        table: "schedule_nodes",
        of_job: "",
        personal: &[],
        others: &[
            ("definition", CONFIGURED),
            ("environment", LIST),
            ("node", OURS),
            ("host", "a machine of the operator"),
            ("content", "of a definition"),
        ],
    },
    PersonalColumns {
        table: "runs",
        of_job: "",
        personal: &[],
        others: &[
            ("definition", CONFIGURED),
            ("environment", LIST),
            ("date", "a moment"),
            ("state", LIST),
            ("why", "why a definition was not started"),
            ("batch", CONFIGURED),
        ],
    },
];
