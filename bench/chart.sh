# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A comparison as a picture: from lines TEXT, KERNEL, FASTNET (rates, tab between), in the terminal and as SVG.

# A table with a bar for each ratio, two marks for 1x.
chart_text()
{
	awk -F'\t' '
	BEGIN { printf "   %-28s%11s%11s%9s\n", "", "kernel", "fastnet", "ratio" }
	{
		ratio = $3 / $2
		bar = ""
		for (i = 1; i <= ratio * 2 && i <= 60; i++)
			bar = bar "#"
		printf "   %-28s%11.0f%11.0f%8.2fx  %s\n", $1, $2, $3, ratio, bar
	}'
}

chart_svg()	# chart_svg FILE
{
	local data

	data=$(awk -F'\t' '{ printf "\"%s\" %.3f\n", $1, $3 / $2 }')
	gnuplot <<-END
		set terminal svg size 900,420 font "sans,13" background "#ffffff"
		set output "$1"
		set title "Requests a second under Fastnet, the kernel being 1"
		set style fill solid 0.85 noborder
		set boxwidth 0.6
		set yrange [0:*]
		set grid ytics lc rgb "#dddddd"
		set xtics nomirror rotate by -20
		set arrow from graph 0, first 1 to graph 1, first 1 nohead lw 2 lc rgb "#888888"
		unset key
		\$data << EOD
		$data
		EOD
		plot \$data using 0:2:xtic(1) with boxes lc rgb "#2266aa", \
			"" using 0:2:(sprintf("%.1fx", column(2))) with labels offset 0, 0.7
	END
}
