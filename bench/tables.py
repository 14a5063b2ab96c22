"""Tables of results beside their goals, as Markdown."""

# -- goals: (table, row) to a number, or to a share of what the better of some servers needs in the same run ----
GOALS = {
    ("instructions", "ka100"): 3500,
    ("instructions", "browser100"): 6000,
    ("instructions", "cgi"): 8000,
    ("instructions", "fcgi"): 7000,
    ("calls", "ka100"): 4,
    ("calls", "close100"): 8,
    ("calls", "cgi"): 30,
    ("calls", "fcgi"): 8,
    ("instructions", "scgi"): 7000,
    ("calls", "scgi"): 9,
    ("instructions", "proxy100"): 6000,
    ("calls", "proxy100"): 8,
    ("calls", "proxy10k"): 9,
    ("resident", "Rss"): 140,
    ("idle", "private bytes a connection"): 128,
    ("bodies", "up: resident moved, KiB"): 64,
    ("bodies", "up: temporary files, MiB"): 0,
    ("bodies", "down: resident moved, KiB"): 64,
    ("bodies", "down: temporary files, MiB"): 0,
    ("cgi body", "resident moved, KiB"): 32,
    ("cgi body", "temporary files, MiB"): 0,
    ("proxied", "up: resident moved, KiB"): 64,
    ("proxied", "up: temporary files, MiB"): 0,
    ("proxied", "down: resident moved, KiB"): 64,
    ("proxied", "down: temporary files, MiB"): 0,
    ("forwarded", "up: resident moved, KiB"): 64,
    ("forwarded", "down: resident moved, KiB"): 64,
    ("cpu", "ka100"): (0.8, ["lighttpd"]),
    ("cpu", "ka10k"): (0.8, ["lighttpd"]),
    ("cpu", "ka1m"): (0.5, ["lighttpd"]),
    ("cpu", "close100"): (0.9, ["nginx"]),
    ("cpu", "cgi"): (0.35, ["lighttpd"]),
    ("cpu", "fcgi"): (0.6, ["lighttpd", "nginx"]),
    ("cpu", "scgi"): (0.8, ["lighttpd", "nginx"]),
    ("cpu", "proxy100"): (0.8, ["nginx (backend kept)"]),
    ("cpu", "proxy10k"): (0.8, ["nginx (backend kept)"]),
    ("lockstep", "ka100"): (0.8, ["lighttpd"]),
    ("lockstep", "ka10k"): (0.8, ["lighttpd"]),
    ("lockstep", "proxy100"): (0.8, ["nginx (backend kept)"]),
    ("lockstep", "proxy10k"): (0.8, ["nginx (backend kept)"]),
    ("beside", "1,000 against none"): 1.15,
    ("upload", "p99, ms"): 5,
    ("tls", "10 KB, kept: system calls"): 4,
    ("tls", "10 KB, kept: instructions"): 60000,
    ("tls", "resident after start, KiB"): 200,
    ("tls", "private bytes of each of 1,000 idle connections"): 1024,
    ("tls", "private bytes of each of 60 active connections"): 13312,
    ("tls", "10 KB, kept: CPU us"): (0.9, ["nginx"]),
    ("tls", "full handshake, request and end: CPU us"): (0.45, ["lighttpd (mbedTLS)"]),
    ("tls", "resumed handshake, request and end: CPU us"): (1.1, ["nginx"]),
    ("cliff", None): 0,                 # every row
}
OURS = "cubhttpd"


class Table:
    """Rows by servers; digits stand behind the point."""

    def __init__(self, key, title, note="", digits=0):
        self.key, self.title, self.note, self.digits = key, title, note, digits
        self.rows = {}

    def put(self, row, server, value):
        self.rows.setdefault(row, {})[server] = value

    def goal(self, row):
        """The goal as a number, and as text; None when there is none (yet)."""
        goal = GOALS.get((self.key, row), GOALS.get((self.key, None)))
        if not isinstance(goal, tuple):
            return goal, "" if goal is None else f"{goal:,}"
        share, others = goal
        known = [self.rows[row][s] for s in others if isinstance(self.rows[row].get(s), (int, float))]
        if not known:
            return None, f"{share} × " + " or ".join(others)
        return share * min(known), f"{self.number(share * min(known))} ({share} × {' or '.join(others)})"

    def number(self, value):
        if value is None:
            return ""
        return value if isinstance(value, str) else f"{value:,.{self.digits}f}"

    def cell(self, row, server):
        value = self.rows[row].get(server)
        goal = self.goal(row)[0]
        if server != OURS or goal is None or not isinstance(value, (int, float)):
            return self.number(value)
        return f"**{self.number(value)}**" if round(value, self.digits) <= goal else f"{self.number(value)} ✗"

    def markdown(self):
        servers = []
        for row in self.rows.values():
            servers += [s for s in row if s not in servers]
        goals = any(self.goal(row)[1] for row in self.rows)
        head = [""] + servers + (["goal"] if goals else [])
        lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
        for row in self.rows:
            lines.append([row] + [self.cell(row, s) for s in servers] + ([self.goal(row)[1]] if goals else []))
        text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return f"### {self.title}\n\n" + (self.note + "\n\n" if self.note else "") + text + "\n"


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def put_between(text, name, new):
    """text with what stands between the markers of this name replaced."""
    first, last = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
    before, _, rest = text.partition(first)
    _, found, after = rest.partition(last)
    if not found:
        raise ValueError(f"no markers for {name}")
    return before + first + "\n" + new + "\n" + last + after
