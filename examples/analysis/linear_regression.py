import pandas as pd
import matplotlib.pyplot as plt
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_squared_error, r2_score
from sklearn.model_selection import train_test_split

data = pd.read_csv("advertising.csv")
X, y = data[["tv", "radio"]], data["sales"]
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=42)

model = LinearRegression()
model.fit(X_train, y_train)
predicted = model.predict(X_test)

print("coefficients:", dict(zip(X.columns, model.coef_.round(4))))
print("intercept:", round(model.intercept_, 3))
print("RMSE:", round(mean_squared_error(y_test, predicted) ** 0.5, 3))

plt.scatter(y_test, predicted, alpha=0.7)
plt.plot([y.min(), y.max()], [y.min(), y.max()], "r--")
plt.xlabel("actual sales")
plt.ylabel("predicted sales")
plt.show()

r2_score(y_test, predicted)
