"""The page's template; its style, script and colours are those of the audit's report."""

TEMPLATE = """{% from "parts.html" import data_table, figures_of, head, top_bar with context %}
<!doctype html>
<html lang="en">
<head>
{% call head("Comparison of two checkpoints of " ~ comparison.new.generator) %}
<style>.lead, .findings p { overflow-wrap: anywhere; }</style>
{% endcall %}
</head>
<body>
<header>
{{ top_bar() }}<h1>Is the new checkpoint worse?</h1>
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
{{ figures_of(section) }}
{%- for table in section.tables %}{{ data_table(table) }}{% endfor %}
</section>
{% endfor %}
</main>
<script>
{{ script|safe }}
</script>
</body>
</html>
"""
