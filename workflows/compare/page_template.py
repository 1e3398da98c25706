"""The page's template; its style, script and colours are those of the audit's report."""

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Comparison of two checkpoints of {{ comparison.new.generator }}</title>
<link rel="icon" href="data:,">
<style>
:root { {{ light }} --page: #fbfcfd; --card: #ffffff; --wash: #f2f4f7; }
:root[data-theme="dark"] { {{ dark }} --page: #12161d; --card: #191f28; --wash: #222935; }
@media (prefers-color-scheme: dark) {
:root:not([data-theme="light"]) { {{ dark }} --page: #12161d; --card: #191f28; --wash: #222935; }
}
{{ style|safe }}
.lead, .findings p { overflow-wrap: anywhere; }
</style>
</head>
<body>
<header>
<div class="bar">
<p class="brand">cawa</p>
<button type="button" id="theme" aria-label="Switch between light and dark">light / dark</button>
</div>
<h1>Is the new checkpoint worse?</h1>
<ul class="findings">
<li class="verdict-{{ 'does-not-hold' if comparison.is_worse else 'holds' }}">
<p class="verdict">{{ verdict }}</p>
<div>
<h3>{{ comparison.sentence }}</h3>
<p>Base: {{ comparison.base.folder }}. New: {{ comparison.new.folder }}.</p>
</div>
</li>
</ul>
<nav aria-label="Sections">
{% for section in sections %}<a href="#{{ section.anchor }}">{{ section.title }}</a>
{% endfor %}
</nav>
</header>
<main>
{% for section in sections %}
<section id="{{ section.anchor }}">
<h2>{{ section.title }}</h2>
<p class="lead">{{ section.lead }}</p>
{% if section.figures %}
<div class="figures">
{% for picture in section.figures %}
<figure>{{ picture.inline_svg|safe }}</figure>
{% endfor %}
</div>
{% endif %}
{% for table in section.tables %}
<details class="table"{% if table.rows|length <= 30 %} open{% endif %}>
<summary>{{ table.caption }} <span class="count">{{ table.rows|length }} rows</span></summary>
<div class="scroll" tabindex="0" role="region" aria-label="{{ table.caption }}">
<table class="sortable">
<thead><tr>
{% for heading in table.headings %}
<th scope="col" aria-sort="none"{{ ' class="number"'|safe if table.is_numeric(loop.index0) }}>
<button type="button">{{ heading }}</button></th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in table.rows %}
<tr>
{% for cell in row %}
<td data-value="{{ cell.value }}"{{ ' class="number"'|safe if cell.numeric }}>{{ cell.text }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
</details>
{% endfor %}
</section>
{% endfor %}
</main>
<script>
{{ script|safe }}
</script>
</body>
</html>
"""
