# SPDX-License-Identifier: BSD-3-Clause
# The table of bench/compare from its rows (ROW TITLE FIELD UNIT high|low PINNING) and what the rounds left.
# A ratio above 1 means that Fastnet is better, also where the figure is a latency.
BEGIN {
	FS = "\t"
	nsides = split(sides, side, " ")
}

NR == FNR {
	n++
	row[n] = $1
	title[n] = $2
	field[n] = $3
	unit[n] = $4
	better[n] = $5
	pinning[n] = $6
	next
}

$1 == "value" {
	key = $2 SUBSEP $3 SUBSEP $4
	count[key]++
	value[key, count[key]] = $5
}

$1 == "machine" {
	turns++
	ping[turns] = $2
	copy[turns] = $3
	waited[turns] = $4
	of[turns] = $5
}

$1 == "invalid" {
	if (!bad[$2, $3]++)
		why[++nbad] = $2 " on " $3 ": " $4
}

$1 == "note" {
	note[++nnotes] = $2
}

# Sorts v[1..n] and returns the median.
function median(v, n,   i, j, t)
{
	for (i = 2; i <= n; i++) {
		t = v[i] + 0
		for (j = i - 1; j >= 1 && v[j] + 0 > t; j--)
			v[j + 1] = v[j]
		v[j + 1] = t
	}
	return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
}

function number(x, u)
{
	return u == "/s" ? sprintf("%.0f", x) : sprintf("%.1f", x)
}

# "median (least-most)", and the median in mid[]
function cell(i, s,   key, k, v)
{
	key = row[i] SUBSEP s SUBSEP field[i]
	mid[i, s] = 0
	if (bad[row[i], s])
		return "INVALID"
	if (!count[key])
		return "-"
	for (k = 1; k <= count[key]; k++)
		v[k] = value[key, k]
	mid[i, s] = median(v, count[key])
	return number(mid[i, s], unit[i]) " (" number(v[1], unit[i]) "-" number(v[count[key]], unit[i]) ")"
}

function ratio(i, s, base)
{
	if (!mid[i, s] || !mid[i, base])
		return "-"
	return sprintf("%.2f", better[i] == "high" ? mid[i, s] / mid[i, base] : mid[i, base] / mid[i, s])
}

# What the machine did in the turns of row i: "cache line ns / memcpy GB/s".
function machine(i,   k, n, p, c)
{
	for (k = 1; k <= turns; k++) {
		if (of[k] == row[i]) {
			p[++n] = ping[k]
			c[n] = copy[k]
		}
	}
	return n ? sprintf("%.0f / %.1f", median(p, n), median(c, n)) : "-"
}

function name(s)
{
	return s == "pinned" ? "kernel, pinned" : s
}

function line(label, cells, n,   k, text)
{
	text = markdown ? "| " label " |" : sprintf("%-30s", label)
	for (k = 1; k <= n; k++)
		text = text (markdown ? " " cells[k] " |" : sprintf(" %22s", cells[k]))
	print text
}

function print_row(i,   k, c, n, label)
{
	label = title[i] (field[i] == "p50" ? ", median" : field[i] == "p999" ? ", p99.9" : "")
	label = label (field[i] == "cpu" ? ", server's CPU" : field[i] == "arena" ? ", arena each" : "")
	label = label (unit[i] == "/s" ? "" : ", " unit[i])
	for (k = 1; k <= nsides; k++)
		c[++n] = cell(i, side[k])
	for (k = 3; k <= nsides && !local; k++)
		c[++n] = ratio(i, side[k], "kernel") " / " ratio(i, side[k], "pinned")
	if (local) {
		c[++n] = ratio(i, "fabric", "loopback")
		c[++n] = pinning[i]
		c[++n] = machine(i)
	}
	line(label, c, n)
}

function print_head(   k, c, n)
{
	for (k = 1; k <= nsides; k++)
		c[++n] = name(side[k])
	for (k = 3; k <= nsides && !local; k++)
		c[++n] = side[k] " ratio"
	if (local) {
		c[++n] = "ratio"
		c[++n] = "server, client"
		c[++n] = "line ns / memcpy GB/s"
	}
	line("", c, n)
	if (markdown) {
		for (k = 1; k <= n; k++)
			c[k] = "---:"
		line("---", c, n)
	}
}

END {
	if (n) {
		print_head()
		for (i = 1; i <= n; i++)
			print_row(i)
		print ""
		printf "Medians of %d rounds of %s s in turns (least-most). ", rounds, seconds
		if (local) {
			printf "Ratio: to the kernel's loopback; above 1 Fastnet is better,\nfor latencies too. "
		} else {
			print "Ratios: to the kernel as it is / with its receive work"
			printf "on the server's core (%s); above 1 Fastnet is better, for latencies too.\n", pin == "rps" ? "RPS" : "threaded NAPI"
		}
		if (local)
			print "Pinned: all threads of server and client to the cores beside the row."
		else
			printf "Pinned: server, all its threads, keeper and DPDK's included: core %s; client: core %s, always on the kernel.\n",
				server, client
		if (wire)
			print "As over a wire: no offloads at either end; the client's end receives on the client's core."
		for (k = 1; k <= turns; k++)
			disturbed += waited[k] >= 5
		printf "Machine: cache line round trip %.0f ns", median(ping, turns)
		printf " (%s-%s), memcpy %.1f GB/s", ping[1], ping[turns], median(copy, turns)
		printf " (%s-%s); the server waited for its core 5%% or more in %d of %d turns.\n", copy[1], copy[turns], disturbed, turns
	}
	for (k = 1; k <= nnotes; k++)
		print (markdown ? "- " : "") note[k]
	for (k = 1; k <= nbad; k++)
		print "INVALID: " why[k]
}
