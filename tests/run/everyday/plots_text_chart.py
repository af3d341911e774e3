# Asked: a bar chart in plain text, without any library.
data = {"Python": 51.0, "JavaScript": 62.3, "Rust": 13.1, "Go": 13.2, "TypeScript": 38.9}


def bar_chart(values, width=40, symbol="█"):
    longest = max(len(name) for name in values)
    scale = width / max(values.values())
    for name, value in sorted(values.items(), key=lambda item: item[1], reverse=True):
        print(f"{name:>{longest}} | {symbol * round(value * scale)} {value:.1f}%")


bar_chart(data)
print(f"{'Average':>10} | {sum(data.values()) / len(data):.2f}%")
